"""Commands that put the delivery contract to the proof, many tries each; every one prints a summary as JSON.

crash_pairs    a worker dies at a call, and again in the recovery from that
zombies        owners that were stopped, doubled or robbed of their transactional ids
drains         SIGTERM under load
comebacks      from SIGKILL to the first commit
broker_kills   the broker dies under load
answers        answers of Kafka that are late or lost
"""
