"""Lets later events of the same group see what a stream says of their features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.plan import PushNode
from streamserve.features.base import FeatureReader


class PushStep:
    """Pushes the events of one part's push topics, before the batch's other events are scored."""

    def __init__(self, pushes: Sequence[tuple[PushNode, FeatureReader]]) -> None:
        self._pushes = pushes

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Push what ``batch`` brought and hand it on unchanged."""
        for node, reader in self._pushes:
            events = batch.select(frozenset({node.topic})).values
            if events:
                reader.push(node.push_source, [fields_of(event) for event in events])
        return batch


def fields_of(event: Any) -> Mapping[str, object]:
    """Return the fields of an event by name."""
    if isinstance(event, BaseModel):
        return dict(event)
    if isinstance(event, Mapping):
        return event  # pyright: ignore[reportUnknownVariableType] - a JSON object
    if isinstance(event, msgspec.Struct):
        return msgspec.structs.asdict(event)
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
