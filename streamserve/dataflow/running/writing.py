"""What steps made, on its way into the open transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from streamserve.dataflow.batch import Cause, OutputColumns, StepOutput
from streamserve.kafka.deliveries import Maker
from streamserve.kafka.transaction import Transaction
from streamserve.observer import Observer
from streamserve.records import Origin, ResultOrigin

__all__ = ["write_output"]


def write_output(output: StepOutput, transaction: Transaction, observer: Observer) -> None:
    """Produce what a step made; each message says what it was made of, should the broker refuse it."""
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
    for emission, cause in output.messages:
        transaction.produce_one(emission, _maker(output.step, cause))
    for topic, messages in Counter(emission.topic for emission, _ in output.messages).items():
        observer.emitted(topic, messages)


def _maker(step: str, cause: Cause) -> Maker:
    if cause is None:
        return f"step {step!r}"
    return cause if isinstance(cause, ResultOrigin) else Origin(step, cause)


def _origins(step: str, columns: OutputColumns) -> Callable[[], Sequence[Origin]]:
    """Return what names the step and the input of each message; it is asked only when needed."""
    return lambda: list(map(partial(Origin, step), columns.origins()))
