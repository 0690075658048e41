"""An app whose every output names who made it. Topics are named after the app: ``in.<app>``, ``out.<app>``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

from streamserve import App, Stream


class Asked(msgspec.Struct, frozen=True):
    """An event; what else its topic holds is left aside."""

    uid: int
    user: str
    at: datetime


class Claimed(msgspec.Struct, frozen=True):
    """The answer to one input: where that stands, and its ``owner``."""

    uid: int
    user: str
    partition: int
    offset: int
    owner: str


class Claim:
    """Who this process is: another owner with each assignment, so that none that is past comes back in good order."""

    def __init__(self) -> None:
        self._number = 0
        self.owner = ""
        """Instance name, process and the number of the assignment."""

    def renew(self) -> None:
        """Be another owner from now on."""
        self._number += 1
        self.owner = f"{os.environ.get('STREAMSERVE_INSTANCE', '')}/{os.getpid()}/{self._number}"


CLAIM = Claim()


def claimed(name: str, _: Path) -> App:
    """One agent that answers each event once; an answer stands in the partition of its input."""
    app = App(name)
    asked = app.topic(f"in.{name}", Asked, key="user", event_time="at")
    answers = app.topic(f"out.{name}", Claimed, key="user")

    @app.agent(asked, to=answers)
    async def claim(stream: Stream[Asked]) -> AsyncIterator[Claimed]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            event = record.value
            yield Claimed(event.uid, event.user, record.partition, record.offset, CLAIM.owner)

    return app
