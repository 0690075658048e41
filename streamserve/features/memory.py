"""Feature services held in memory: for tests, benchmarks, and apps whose features are few and fixed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from streamserve.clock import Clock
from streamserve.errors import FeatureRowError, PlanError
from streamserve.features.base import FeatureBatch, FeatureStatus
from streamserve.features.overlay import PushedRow
from streamserve.features.prepared import PreparedReader
from streamserve.features.rows import UNKNOWN_MS, Key, ViewRow, entity_keys, not_found, row_of
from streamserve.features.service import JoinOptions, ServiceDescription, ViewDescription
from streamserve.observer import Observer
from streamserve.records import Scalar, to_epoch_ms

TIMESTAMP_FIELD = "event_timestamp"
"""The field that holds the time of a row, a datetime; a row without one is of no age."""


class MemoryReader(PreparedReader):
    """A ``FeatureReader`` on a mapping from entities to rows.

    The service has one view, named as the service is. ``rows`` are by join key, a tuple where there are several; a
    feature that a row lacks is not found. A push source of the service's own name takes rows with the join keys,
    features and ``event_timestamp``.

    >>> reader = MemoryReader("delay_v1", ("origin",), {"wind": float}, {"JFK": {"wind": 3.5}})
    >>> batch = reader.read({"origin": ["JFK", "LGA"]}, [0, 0])
    >>> batch.columns["wind"], batch.status["wind"]
    ([3.5, None], ['present', 'not-found'])
    """

    def __init__(
        self,
        service: str,
        join_keys: Sequence[str],
        features: Mapping[str, type],
        rows: Mapping[Key, Mapping[str, object]],
        *,
        max_age: timedelta | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        table = _MemoryTable(tuple(join_keys), tuple(features))
        table.load(rows)
        super().__init__(
            _MemoryService(_describe(service, join_keys, features), table),
            options=JoinOptions(max_age={service: max_age}, cache_max_age=timedelta(0)),
            observer=observer,
            clock=clock,
        )

    @staticmethod
    def from_matrix(
        key: str, names: Sequence[str], matrix: NDArray[np.float32], *, service: str = "matrix"
    ) -> MatrixReader:
        """Return a reader that answers row ``i`` of ``matrix``, of shape (entities, names), for key ``i``."""
        return MatrixReader(service, key, names, matrix)


class MatrixReader:
    """A ``FeatureReader`` that answers NumPy columns by index, without work per row in Python.

    Entities are the integers from 0; another key is not found, and such a batch is answered as lists. Rows are
    of no age.

    >>> reader = MemoryReader.from_matrix("user", ["risk"], np.array([[0.5], [0.25]], np.float32))
    >>> reader.read({"user": [1, 0]}, None).columns["risk"]
    array([0.25, 0.5 ], dtype=float32)
    """

    def __init__(self, service: str, key: str, names: Sequence[str], matrix: NDArray[np.float32]) -> None:
        if matrix.ndim != 2 or matrix.shape[1] != len(names):  # noqa: PLR2004 - rows and columns
            raise PlanError(f"{len(names)} features need a matrix of as many columns, got shape {matrix.shape}")
        self.service = service
        self.join_keys = (key,)
        self.request_fields: tuple[str, ...] = ()
        self.features: Mapping[str, type] = dict.fromkeys(names, float)
        self._entities = len(matrix)
        self._columns = np.ascontiguousarray(matrix.T)

    def read(self, keys: Mapping[str, Sequence[Scalar]], event_times_ms: Sequence[int] | None) -> FeatureBatch:
        """Look up the features of a batch of events; see ``FeatureReader.read``."""
        del event_times_ms
        asked = keys[self.join_keys[0]]
        try:
            index = np.frombuffer(array("q", cast("Sequence[int]", asked)), np.int64)  # which takes no 1.7 and no "1"
        except (TypeError, OverflowError):
            return self._read_some(asked)
        if index.size and (index.min() < 0 or index.max() >= self._entities):
            return self._read_some(asked)
        columns: Any = dict(zip(self.features, self._columns.take(index, axis=1), strict=True))
        return FeatureBatch(len(index), columns, {}, [0] * len(index))

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Refuse: a matrix has no push sources."""
        raise PlanError(f"no push source {push_source!r}: the {len(rows)} rows need a reader that takes pushes")

    def flush_pushes(self) -> None:
        """Do nothing: there are no pushes."""

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _read_some(self, asked: Sequence[Scalar]) -> FeatureBatch:
        """Answer a batch in which some key is no row of the matrix."""
        index = [key if isinstance(key, int | np.integer) and 0 <= key < self._entities else None for key in asked]
        columns = {
            name: [None if place is None else float(column[place]) for place in index]
            for name, column in zip(self.features, self._columns, strict=True)
        }
        status: list[FeatureStatus] = ["not-found" if place is None else "present" for place in index]
        return FeatureBatch(len(index), columns, dict.fromkeys(columns, status), [0] * len(index))


def _describe(service: str, join_keys: Sequence[str], features: Mapping[str, type]) -> ServiceDescription:
    view = ViewDescription(
        name=service,
        table=service,
        keys={key: key for key in join_keys},
        features={feature: feature for feature in features},
    )
    return ServiceDescription(
        service=service,
        join_keys=tuple(join_keys),
        request_fields=(),
        features=dict(features),
        views=(view,),
        on_demand=(),
        push_sources={service: (service,)},
    )


class _MemoryService:
    """An ``OnlineService`` of one table and no on-demand features."""

    def __init__(self, description: ServiceDescription, table: _MemoryTable) -> None:
        self.description = description
        self._table = table

    def table(self, name: str) -> _MemoryTable:
        if name != self.description.service:
            raise PlanError(f"no table {name!r} in memory: there is only {self.description.service!r}")
        return self._table

    def compute(
        self, given: Mapping[str, Sequence[Any]], refused: Sequence[FeatureStatus | None]
    ) -> tuple[dict[str, Sequence[Any]], dict[str, Sequence[FeatureStatus]]]:
        del given, refused
        return {}, {}

    def close(self) -> None:
        """Keep the rows: a reader may be opened on them again."""


class _MemoryTable:
    """An ``OnlineTable`` that is a dictionary."""

    def __init__(self, join_keys: tuple[str, ...], features: tuple[str, ...]) -> None:
        self.features = features
        self._join_keys = join_keys
        self._rows: dict[Key, ViewRow] = {}
        self._missing = not_found(len(features))

    def load(self, rows: Mapping[Key, Mapping[str, object]]) -> None:
        self._rows.update({key: self._row(row) for key, row in rows.items()})

    def read(self, keys: Sequence[Key]) -> list[ViewRow]:
        return [self._rows.get(key, self._missing) for key in keys]

    def encode(self, rows: Sequence[Mapping[str, object]]) -> list[PushedRow]:
        for row in rows:
            lacking = [name for name in (*self._join_keys, *self.features, TIMESTAMP_FIELD) if name not in row]
            if lacking:
                raise FeatureRowError(f"a pushed row has no field {lacking[0]!r}: push all fields of the view")
        keys = entity_keys([[row[name] for row in rows] for name in self._join_keys], len(rows))
        return [PushedRow(key, self._row(row), None) for key, row in zip(keys, rows, strict=True)]

    def write(self, rows: Sequence[PushedRow]) -> None:
        self._rows.update({pushed.key: pushed.row for pushed in rows})

    def _row(self, row: Mapping[str, object]) -> ViewRow:
        at = row.get(TIMESTAMP_FIELD)
        return row_of(self.features, row, to_epoch_ms(at) if isinstance(at, datetime) else UNKNOWN_MS)
