"""What steps made, on its way into the open transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from streamserve.dataflow.batch import OutputColumns, StepOutput
from streamserve.kafka.transaction import Transaction
from streamserve.observer import Observer
from streamserve.records import Origin

__all__ = ["write_output"]


def write_output(output: StepOutput, transaction: Transaction, observer: Observer) -> None:
    """Produce what a step made; each message says of which input it was made, should the broker refuse it."""
    for columns in output.columns:
        transaction.produce_columns(
            columns.topic,
            columns.values,
            columns.keys,
            _origins(output.step, columns),
            columns.timestamps_ms,
            columns.headers,
        )
        observer.emitted(columns.topic, len(columns.values))
    if not output.messages:
        return
    for emission, place in output.messages:
        transaction.produce_one(emission, Origin(output.step, place) if place else f"step {output.step!r}")
    for topic, messages in Counter(emission.topic for emission, _ in output.messages).items():
        observer.emitted(topic, messages)


def _origins(step: str, columns: OutputColumns) -> Callable[[], Sequence[Origin]]:
    """Return what names the step and the input of each message; it is asked only when needed."""
    return lambda: list(map(partial(Origin, step), columns.origins()))
