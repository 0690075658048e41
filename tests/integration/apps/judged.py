"""A small app whose predictions wait for labels, for fault tests. Labels come on ``labels.<app>``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

from streamserve import App, Stream


class Asked(msgspec.Struct, frozen=True):
    """An event of ``user`` that is given a prediction under its ``uid``."""

    uid: int
    user: str
    at: datetime


class Guess(msgspec.Struct, frozen=True):
    uid: int
    probability: float


class Known(msgspec.Struct, frozen=True):
    """What came true of the event ``uid``."""

    uid: int
    at: datetime
    truth: bool


WITHIN_S = 100


def labels_of(name: str) -> str:
    """Return the topic of labels of app ``name``."""
    return f"labels.{name}"


def judged(name: str, _: Path) -> App:
    """An agent that guesses, and labels for its guesses."""
    app = App(name)
    asked = app.topic(f"in.{name}", Asked, key="user", event_time="at")
    guesses = app.topic(f"out.{name}", Guess, key="uid")
    known = app.topic(labels_of(name), Known, key="uid", event_time="at")

    @app.agent(asked, to=guesses)
    async def guess(stream: Stream[Asked]) -> AsyncIterator[Guess]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Guess(event.uid, event.uid % 100 / 100)

    app.labels(
        known,
        predictions=guesses,
        truth=lambda label: label.truth,
        score=lambda guess: guess.probability,
        within=f"{WITHIN_S}s",
        name="labels",
    )
    return app
