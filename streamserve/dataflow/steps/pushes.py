"""Lets later events of the same group see what a stream says of their features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput
from streamserve.dataflow.planning.nodes import PushNode
from streamserve.errors import FeatureRowError
from streamserve.features.base import FeatureReader

PUSH = "push"
"""Begins the name of the step that dead-letters what cannot be pushed; the push source's name ends it."""


class PushStep:
    """Pushes the events of one part's push topics, before the batch's other events are scored.

    An event that cannot be pushed is one failure of its own, whatever other agents make of it.
    """

    def __init__(self, pushes: Sequence[tuple[PushNode, FeatureReader]]) -> None:
        self._pushes = pushes
        self._failures: list[StepOutput] = []

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Push what ``batch`` brought and hand it on unchanged."""
        for node, reader in self._pushes:
            selected = batch.select(frozenset({node.topic}))
            errors = push_all(reader, node.push_source, selected.values)
            if errors:
                failures = [Failure(selected.records[row], error) for row, error in errors.items()]
                self._failures.append(StepOutput(f"{PUSH}:{node.push_source}", failures=failures))
        return batch

    def take_failures(self) -> list[StepOutput]:
        """Return what could not be pushed since the last call."""
        taken, self._failures = self._failures, []
        return taken


def push_all(reader: FeatureReader, source: str, events: Sequence[Any]) -> dict[int, FeatureRowError]:
    """Push ``events`` in order; return, by position, why some cannot be: halved until only those are left."""
    if not events:
        return {}
    try:
        reader.push(source, [fields_of(event) for event in events])
    except FeatureRowError as error:
        if len(events) == 1:
            return {0: error}
        middle = len(events) // 2
        errors = push_all(reader, source, events[:middle])
        later = push_all(reader, source, events[middle:])
        return errors | {middle + position: cause for position, cause in later.items()}
    return {}


def fields_of(event: Any) -> Mapping[str, object]:
    """Return the fields of an event by name."""
    if isinstance(event, BaseModel):
        return dict(event)
    if isinstance(event, Mapping):
        return event  # pyright: ignore[reportUnknownVariableType] - a JSON object
    if isinstance(event, msgspec.Struct):
        return msgspec.structs.asdict(event)
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
