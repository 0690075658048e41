"""Copies events with streamserve: run by ``streamserve run tests.benchmarks.peers.our_copy:app``."""

from __future__ import annotations

import os

from streamserve import App, Stream

app = App(os.environ.get("PEER_APP", "our-copy"))
inputs = app.topic(os.environ.get("PEER_INPUT", "peers-in"))
outputs = app.topic(os.environ.get("PEER_OUTPUT", "peers-out"))


@app.agent(inputs)
async def copy(stream: Stream[bytes, bytes]) -> None:
    """Write each event as it is, under its key."""
    async for record in stream.records():
        await outputs.send(record.value, key=record.key)
