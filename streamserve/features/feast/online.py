"""One feature view in Feast's online store: entities and rows to Feast's protos and back."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

from feast import FeatureStore, FeatureView
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType

from streamserve.errors import FeatureRowError, OutageError
from streamserve.features.overlay import PushedRow
from streamserve.features.rows import UNKNOWN_MS, Key, ViewRow, entity_keys, not_found, row_of
from streamserve.records import to_epoch_ms

Proto: TypeAlias = Any
"""Feast's ``Value``: one value of any type, or none."""

KEYS_A_CALL = 10_000
"""SQLite takes at most 32,766 parameters in one statement (its SQLITE_MAX_VARIABLE_NUMBER), Feast passes them all."""

_PLAIN = frozenset({"int32_val", "int64_val", "float_val", "double_val", "string_val", "bool_val", "bytes_val"})
_UUIDS = frozenset({ValueType.UUID, ValueType.TIME_UUID})
_THE_ONE_ENTITY = EntityKey(join_keys=[DUMMY_ENTITY_ID], entity_values=[Value(string_val=DUMMY_ENTITY_VAL)])
"""The entity of a view without entities."""


class FeastTable:
    """One stored feature view; ``features`` are those that it reads and, when it is pushed to, all that it holds.

    Keys and values are converted by Feast's own functions, so that they are what ``get_online_features`` takes and
    answers.
    """

    def __init__(
        self, store: FeatureStore, view: FeatureView, features: Sequence[str], key_types: Mapping[str, ValueType]
    ) -> None:
        types = {field.name: field.dtype.to_value_type() for field in view.features}
        stored = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
        self._store = store
        self._view = view
        self._features = {name: types[name] for name in features}
        self._keys = {name: key_types.get(name, kind) for name, kind in stored.items() if name != DUMMY_ENTITY_ID}

    @property
    def features(self) -> tuple[str, ...]:
        """Return the features that a row holds, in order."""
        return tuple(self._features)

    def read(self, keys: Sequence[Key]) -> list[ViewRow]:
        """Return the rows of ``keys``, asked of the online store in one call (of at most ``KEYS_A_CALL``).

        An entity with a null join key is not asked for and not found.

        Raises:
            FeatureRowError: a join key is not of its entity's type.
            OutageError: the store does not answer.
        """
        rows = [not_found(len(self._features))] * len(keys)
        asked = [(place, entity) for place, entity in enumerate(self._entities(keys)) if entity is not None]
        if not asked:
            return rows
        answers = self._ask([entity for _, entity in asked])
        for (place, _), (event_time, values) in zip(asked, answers, strict=True):
            if values is not None:
                rows[place] = self._decode(values, UNKNOWN_MS if event_time is None else to_epoch_ms(event_time))
        return rows

    def encode(self, rows: Sequence[Mapping[str, object]]) -> list[PushedRow]:
        """Turn pushed ``rows`` (join keys, features and the source's timestamp field, a datetime) into Feast's protos.

        Raises:
            FeatureRowError: a field is missing or not of its type, or a join key or the timestamp is null.
        """
        keys = entity_keys([self._column(rows, name) for name in self._keys], len(rows))
        entities = self._entities(keys)
        times = self._times(rows)
        if None in entities:
            raise FeatureRowError(f"a row pushed to feature view {self._view.name!r} has a null join key")
        columns = {name: self._protos(name, kind, self._column(rows, name)) for name, kind in self._features.items()}
        values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [
            PushedRow(key, self._decode(held, to_epoch_ms(at)), (entity, held, at, None))
            for key, entity, held, at in zip(keys, entities, values, times, strict=True)
        ]

    def write(self, rows: Sequence[PushedRow]) -> None:
        """Write ``rows`` in one call.

        Raises:
            OutageError: the store does not answer.
        """
        with outages(self._view.name):
            self._store.provider.online_write_batch(
                self._store.config, self._view, [row.encoded for row in rows], progress=None
            )

    def _ask(self, entities: Sequence[EntityKey]) -> list[tuple[datetime | None, Mapping[str, Proto] | None]]:
        """Return the store's answers, in the order of ``entities``."""
        answers: list[tuple[datetime | None, Mapping[str, Proto] | None]] = []
        with outages(self._view.name):
            for start in range(0, len(entities), KEYS_A_CALL):
                part = list(entities[start : start + KEYS_A_CALL])
                answers += self._store.provider.online_read(self._store.config, self._view, part, list(self._features))
        return answers

    def _entities(self, keys: Sequence[Key]) -> list[EntityKey | None]:
        """Return Feast's key of each entity, ``None`` where a part of it is null."""
        if not self._keys:
            return [_THE_ONE_ENTITY] * len(keys)
        parts = [keys] if len(self._keys) == 1 else list(zip(*keys, strict=True))
        protos = [self._protos(name, kind, part) for (name, kind), part in zip(self._keys.items(), parts, strict=True)]
        names = list(self._keys)
        return [
            None if any(map(is_null, entity)) else EntityKey(join_keys=names, entity_values=entity)
            for entity in zip(*protos, strict=True)
        ]

    def _protos(self, name: str, kind: ValueType, values: Sequence[Any]) -> Sequence[Proto]:
        try:
            return python_values_to_proto_values(list(values), kind)
        except (TypeError, ValueError, AssertionError, OverflowError, AttributeError, ArithmeticError) as error:
            raise FeatureRowError(
                f"{name!r} of feature view {self._view.name!r} takes {kind.name} and got another type"
            ) from error

    def _decode(self, values: Mapping[str, Proto], event_ms: int) -> ViewRow:
        held = {name: decode(values[name], kind) for name, kind in self._features.items() if name in values}
        return row_of(self._features, held, event_ms)

    def _column(self, rows: Sequence[Mapping[str, object]], name: str) -> list[Any]:
        """Return field ``name`` of pushed ``rows``, which may use the source's own name for it."""
        source = self._view.batch_source
        renamed = {} if source is None else {stored: given for given, stored in source.field_mapping.items()}
        given = renamed.get(name, name)
        try:
            return [row[name] if name in row else row[given] for row in rows]
        except KeyError as error:
            raise FeatureRowError(
                f"a row pushed to feature view {self._view.name!r} has no field {given!r}: push all fields of the view"
            ) from error

    def _times(self, rows: Sequence[Mapping[str, object]]) -> list[datetime]:
        source = self._view.batch_source
        field = "event_timestamp" if source is None else source.timestamp_field or "event_timestamp"
        times = self._column(rows, field)
        if not all(isinstance(at, datetime) for at in times):
            raise FeatureRowError(f"{field!r} of a row pushed to feature view {self._view.name!r} is not a datetime")
        moments = cast("list[datetime]", times)
        return [at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC) for at in moments]


def decode(value: Proto, kind: ValueType) -> Any:
    """Return the Python value that ``get_online_features(...).to_dict()`` answers for ``value`` of type ``kind``."""
    held = value.WhichOneof("val")
    if held in _PLAIN and kind not in _UUIDS:
        return getattr(value, held)
    return feast_value_type_to_python_type(value, kind)


def is_null(value: Proto) -> bool:
    """Say whether ``value`` holds nothing."""
    return value.WhichOneof("val") is None


@contextmanager
def outages(view: str) -> Generator[None]:
    """Take whatever an online store raises for an outage: by then the keys and rows are known to be good."""
    try:
        yield
    except Exception as error:
        raise OutageError(
            f"Feast's online store does not answer for feature view {view!r} ({type(error).__name__}): see that "
            "it runs, that feature_store.yaml points to it and that `feast apply` was run"
        ) from error
