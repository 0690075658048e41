"""Small apps that fault tests run as worker processes. Topics are named after the app: ``in.<app>``, ``out.<app>``."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from river.drift import ADWIN

from streamserve import App, Regression, Stream, Topic
from streamserve.agents import Batch
from streamserve.dataflow.runtime import OpenReader
from streamserve.features.memory import MemoryReader
from tests.integration.apps.claimed import claimed
from tests.integration.apps.joins import joined
from tests.integration.apps.judged import judged
from tests.integration.apps.state import counted, owing, stored, windowed

SERVICE = "weights"
MODEL = "model"
WINDOW_S = 60


class Event(msgspec.Struct, frozen=True):
    """``size`` asks for an answer of so many bytes that do not compress; ``fails`` for an exception."""

    uid: int
    user: str
    at: datetime
    size: int = 0
    fails: bool = False


class Answer(msgspec.Struct, frozen=True):
    uid: int
    text: str = ""


class Scored(msgspec.Struct, frozen=True):
    uid: int
    value: float


class Tagged(msgspec.Struct, frozen=True):
    uid: int
    at: datetime


def inputs_of(name: str) -> list[str]:
    """Return the topics that app ``name`` may read."""
    return [f"in.{name}", f"also.{name}"]


def output_of(name: str) -> str:
    return f"out.{name}"


def _events(app: App, topic: str) -> Topic[Event, str]:
    return app.topic(topic, Event, key="user", event_time="at")


def _uid(answer: Answer | Scored | Tagged) -> str:
    return str(answer.uid)


def echo(name: str, _: Path) -> App:
    """One agent that answers each event once."""
    app = App(name)
    answers = app.topic(output_of(name), Answer, key=_uid)

    @app.agent(_events(app, f"in.{name}"), to=answers)
    async def echo(stream: Stream[Event]) -> AsyncIterator[Answer]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if event.fails:
                raise ValueError
            yield Answer(event.uid, random.Random(event.uid).randbytes(event.size // 2).hex())  # noqa: S311 - no secret

    return app


def strict(name: str, _: Path) -> App:
    """As ``echo``, but the worker stops at an event that fails."""
    app = App(name)
    answers = app.topic(output_of(name), Answer, key=_uid)

    @app.batch_agent(_events(app, f"in.{name}"), to=answers, on_error="stop")
    def strict(batch: Batch[Event]) -> Sequence[Answer]:  # pyright: ignore[reportUnusedFunction]
        if any(event.fails for event in batch):
            raise ValueError
        return [Answer(event.uid) for event in batch]

    return app


def monitored(name: str, registry: Path) -> App:
    """Features from memory, a model, a monitor: its state lives in a changelog."""
    app = App(name, model_registry=registry)
    weights = app.features(SERVICE, event=Event)
    model = app.model(MODEL, inputs=[weights], output=Regression)
    scored = app.topic(output_of(name), Scored, key=_uid)
    app.score(_events(app, f"in.{name}"), features=weights, model=model, to=scored)
    app.monitor(model, detectors=[ADWIN()], window=f"{WINDOW_S}s")
    return app


def merged(name: str, _: Path) -> App:
    """One agent that reads two topics in order of event time."""
    app = App(name)
    answers = app.topic(output_of(name), Tagged, key=_uid)

    @app.agent(*(_events(app, topic) for topic in inputs_of(name)), to=answers)
    async def merge(stream: Stream[Event]) -> AsyncIterator[Tagged]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Tagged(event.uid, event.at)

    return app


TOPOLOGIES: Mapping[str, Callable[[str, Path], App]] = {
    "echo": echo,
    "strict": strict,
    "monitored": monitored,
    "merged": merged,
    "counted": counted,
    "owing": owing,
    "windowed": windowed,
    "stored": stored,
    "joined": joined,
    "judged": judged,
    "claimed": claimed,
}


def readers() -> Mapping[str, OpenReader]:
    """Return what stands in for the feature repository: the model's one input, by user."""
    rows = {f"user-{number}": {"x": float(number)} for number in range(10)}
    return {SERVICE: lambda: MemoryReader(SERVICE, ("user",), {"x": float}, rows)}
