"""The built-in app: every feature of the engine that has state, so that a fault in any of them shows.

One agent asks a model, keeps a count and a hash chain of each key in a table, answers with both, with where its input
stood and with which process it is, and writes a side output. Beside it: tumbling windows by key, the same by another
key through a regrouped topic, labels for the side output, statistics of the model's rows, dead letters.

``streamserve run streamserve.testing.verify.app:app`` runs it; ``STREAMSERVE_VERIFY_APP`` is its name.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
from river.drift import ADWIN

from streamserve import App, Duration, Model, Regression, Reject, Stream, Topic, Window, aggregates, tumbling
from streamserve.testing.verify.inputs import WINDOW_MS, Input, extend
from streamserve.testing.verify.names import Names

__all__ = [
    "APP_VARIABLE",
    "MODULE",
    "Answer",
    "Asked",
    "Chain",
    "Counted",
    "Guess",
    "Known",
    "build_app",
    "publish_model",
]

APP_VARIABLE: Final = "STREAMSERVE_VERIFY_APP"
MODULE: Final = f"{__name__}:app"
"""What ``streamserve run`` is given."""

_MODEL: Final = "echo"
_WINDOW: Final = f"{WINDOW_MS}ms"
_INCARNATION: Final = uuid4().hex[:12]
"""Another one for each process."""


class Asked(msgspec.Struct, frozen=True):
    """An input; see ``inputs.Input``."""

    key: str
    sequence: int
    id: int
    group: str
    x: float
    at: datetime


class Chain(msgspec.Struct, frozen=True):
    """How many inputs a key had, and the chain of their ids."""

    count: int = 0
    chain: int = 0


class Answer(msgspec.Struct, frozen=True):
    """What the table held after an input, where that stood, and who answered."""

    key: str
    sequence: int
    id: int
    partition: int
    offset: int
    count: int
    chain: int
    incarnation: str


class Guess(msgspec.Struct, frozen=True):
    """What the model says of an input."""

    id: int
    value: float
    partition: int
    offset: int


class Known(msgspec.Struct, frozen=True):
    """What came true of an input."""

    id: int
    at: datetime
    truth: bool


class Counted(msgspec.Struct, frozen=True):
    """A closed window."""

    key: str
    start: datetime
    value: int


def build_app(name: str, *, within: Duration = "30d") -> App:
    """Return the app under ``name``; its model is in the registry that the settings name.

    Predictions wait ``within`` of event time for their labels: by default for as long as any run takes.
    """
    app, names = App(name), Names(name)
    asked = app.topic(names.inputs, Asked, key="key", event_time="at")
    guesses = app.topic(names.guesses, Guess, key="id")
    model = app.model(_MODEL, inputs=[Asked], output=Regression)
    _answer(app, asked, model, guesses)
    windows, groups = (app.topic(topic, Counted, key="key") for topic in (names.windows, names.groups))
    span, count = tumbling(_WINDOW), aggregates.count()
    app.aggregate("window", asked, count, window=span, to=windows, output=_counted)
    app.aggregate("group", asked.group_by("group"), count, window=span, to=groups, output=_counted)
    known = app.topic(names.labels, Known, key="id", event_time="at")
    app.labels(known, predictions=guesses, truth=_truth, score=_score, within=within, window="30d", name="labels")
    app.monitor(model, detectors=[ADWIN()], window=_WINDOW)
    return app


def _answer(app: App, asked: Topic[Asked, str], model: Model[Regression], guesses: Topic[Guess, str]) -> None:
    """Let an agent answer."""
    answers = app.topic(Names(app.name).answers, Answer, key="key")
    chains = app.table("chains", Chain, default=Chain)

    @app.agent(asked, to=answers)
    async def answer(stream: Stream[Asked]) -> AsyncIterator[Answer]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            event, place = record.value, (record.partition, record.offset)
            if Input(event.key, event.sequence, event.id).is_refused:
                raise Reject("the inputs' rule refuses this one")
            guess = await model.predict(event)
            after = chains.update(event.key, lambda chain, number=event.id: _longer(chain, number))
            await guesses.send(Guess(event.id, guess.output.value, *place))
            told = (event.key, event.sequence, event.id)
            yield Answer(*told, *place, after.count, after.chain, _INCARNATION)


def _longer(chain: Chain, number: int) -> Chain:
    return Chain(chain.count + 1, extend(chain.chain, number))


def _counted(window: Window[int]) -> Counted:
    return Counted(window.key, window.start, window.value)


def _truth(label: Known) -> bool:
    return label.truth


def _score(guess: Guess) -> float:
    return guess.value


def publish_model(registry: Path) -> None:
    """Write the app's model into ``registry``: it answers what it is asked."""
    from streamserve.inference.manifest import (
        GoldenSample,
        InputSpec,
        OutputColumn,
        RegressionOutput,
        TensorSpec,
    )
    from streamserve.inference.package import write_package
    from streamserve.inference.registry import Registry

    write_package(
        registry,
        name=_MODEL,
        version="1",
        onnx=b64decode(_IDENTITY),
        inputs=[InputSpec(name="x", type="float")],
        tensors=[TensorSpec(name="x", dtype="float32")],
        output=RegressionOutput(value=OutputColumn(tensor="y")),
        golden=GoldenSample(rows=({"x": 1.0},), expected=({"value": 1.0},)),
    )
    Registry(registry).set_alias(_MODEL, "champion", "1")


_IDENTITY: Final = (
    "CAk6RAoQCgF4EgF5IghJZGVudGl0eRIEZWNob1oUCgF4Eg8KDQgBEgkKAxIBTgoCCAFiFAoBeRIPCg0IARIJCgMSAU4KAggBQgQKABAS"
)
"""The ONNX graph ``y = x`` of one float column."""

app = build_app(os.environ.get(APP_VARIABLE, "verify"))
