"""Copies events with Faust, as exactly once as it goes; runs in an environment of its own.

Time-outs are as short as brokers allow: by default a dead worker's partitions would wait for a minute.
"""

import os

import faust  # pyright: ignore[reportMissingModuleSource] - in an environment of its own

app = faust.App(
    os.environ["PEER_APP"],
    broker="kafka://" + os.environ["PEER_BROKERS"],
    processing_guarantee="exactly_once",
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=6.0,
    broker_heartbeat_interval=1.0,
    broker_commit_interval=0.1,
    topic_partitions=4,
    topic_replication_factor=1,
    web_enabled=False,
)
inputs = app.topic(os.environ["PEER_INPUT"], key_type=bytes, value_type=bytes, value_serializer="raw")
outputs = app.topic(os.environ["PEER_OUTPUT"], key_type=bytes, value_type=bytes, value_serializer="raw")


@app.agent(inputs)
async def copy(stream: faust.StreamT) -> None:
    async for key, value in stream.items():
        await outputs.send(key=key, value=value)


if __name__ == "__main__":
    app.main()
