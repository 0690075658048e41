"""Commands that put the delivery contract to the proof, many tries each; every one prints a summary as JSON.

crash_pairs    a worker dies at a call, and again in the recovery from that
memory_pairs   the same without a broker
zombies        owners that were stopped, doubled or robbed of their transactional ids
drains         SIGTERM under load
comebacks      from SIGKILL to the first commit
broker_kills   the broker dies under load
leader_moves   leaders and coordinators move between three brokers
slow_brokers   the broker answers late, or stands still
full_disk      the broker's disk is full
answers        answers of Kafka that are late or lost
soak           half an hour at half of full speed: memory, descriptors, threads, latency
"""
