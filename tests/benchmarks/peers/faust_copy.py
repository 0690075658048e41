"""Copies events with Faust, as exactly once as it goes; runs in an environment of its own.

Time-outs are as short as brokers allow: by default a dead worker's partitions would wait for a minute.

Faust 0.15.3 finds the transaction of a record by the partition that it goes to, and only for topics that its worker is
subscribed to; to all others it writes outside of any transaction (``TransactionManager.send``, known as
https://github.com/faust-streaming/faust/issues/177), so that what is done again after a kill comes twice. With
PEER_SUBSCRIBED the worker reads its own output as well, which puts its writes into transactions. Some come twice even
so: a commit takes the offsets first, and the agent goes on to write into the transactions that they are about to close.
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
async def copy(stream: faust.StreamT[bytes]) -> None:
    async for key, value in stream.items():
        await outputs.send(key=key, value=value)


if "PEER_SUBSCRIBED" in os.environ:

    @app.agent(outputs)
    async def read_back(stream: faust.StreamT[bytes]) -> None:  # pyright: ignore[reportUnusedFunction] - Faust has it
        async for _ in stream.items():
            pass


if __name__ == "__main__":
    app.main()
