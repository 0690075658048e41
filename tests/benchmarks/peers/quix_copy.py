"""Copies events with Quix Streams, as exactly once as it goes; runs in an environment of its own.

Time-outs are as short as brokers allow: by default a dead worker's open transaction would hold readers up for a minute.
"""

import os

from quixstreams import Application  # pyright: ignore[reportMissingModuleSource] - in an environment of its own

app = Application(
    broker_address=os.environ["PEER_BROKERS"],
    consumer_group=os.environ["PEER_APP"],
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=0.1,
    consumer_extra_config={"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000},
    producer_extra_config={"transaction.timeout.ms": 10_000},
    auto_create_topics=False,
)
inputs = app.topic(os.environ["PEER_INPUT"], value_deserializer="bytes", key_deserializer="bytes")
outputs = app.topic(os.environ["PEER_OUTPUT"], value_serializer="bytes", key_serializer="bytes")
app.dataframe(inputs).to_topic(outputs)

if __name__ == "__main__":
    app.run()
