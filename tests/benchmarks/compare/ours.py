"""The job by streamserve and by the hand-written loop: ``python -m tests.benchmarks.compare.ours LEVEL``.

It runs until standard input ends. There is no drift monitor, which others do not have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from uuid import uuid4

from pydantic import BaseModel

from streamserve import App, Binary, Stream
from streamserve.observer import Observer
from tests.benchmarks import apps, hand_loop
from tests.benchmarks.compare.job import PREFIX
from tests.benchmarks.serving import when_input_ends
from tests.benchmarks.workload import MODEL, MODELS, SERVICE


class TransactionModel(BaseModel):
    """An event as a pydantic model."""

    id: int
    user: int
    amount: float
    merchant: str
    ts: int
    country: str
    channel: str
    device: str


class ScoredModel(BaseModel):
    """A prediction as a pydantic model."""

    id: int
    user: int
    probability: float
    label: bool
    version: str


def build_app(level: str, source: str, target: str) -> App:
    """Return the app of a level: ``score``, ``agent`` or ``agent_pydantic``."""
    if level == "agent_pydantic":
        return _pydantic_agent(source, target)
    return apps.build_app("agent" if level == "agent" else "score", source, target, monitored=False)


def main(level: str) -> None:
    """Do the job that the environment tells."""
    brokers, source, target = (os.environ[PREFIX + name] for name in ("BROKERS", "SOURCE", "TARGET"))
    if level == "hand_loop":
        hand_loop.serve(brokers, source, target, quick=bool(os.environ[f"{PREFIX}QUICK"]), monitored=False)
        return
    worker = apps.make_worker(build_app(level, source, target), brokers, Observer())
    when_input_ends(worker.stop)
    worker.run()


def _pydantic_agent(source: str, target: str) -> App:
    app = App(f"compare-{uuid4().hex[:8]}", model_registry=MODELS)
    transactions = app.topic(source, TransactionModel, key="user")
    scored = app.topic(target, ScoredModel, key="user")
    features = app.features(SERVICE, event=TransactionModel)
    model = app.model(MODEL, inputs=[TransactionModel, features], output=Binary)

    @app.agent(transactions, to=scored)
    async def score_one(stream: Stream[TransactionModel]) -> AsyncIterator[ScoredModel]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            row = await features.get(event)
            prediction = await model.predict(event, row)
            output = prediction.output
            yield ScoredModel(
                id=event.id,
                user=event.user,
                probability=output.probability,
                label=output.label,
                version=prediction.version,
            )

    return app


if __name__ == "__main__":
    main(sys.argv[1])
