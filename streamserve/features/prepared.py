"""The prepared join: a feature service resolved once and read in batches, through a cache, with pushed rows seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from streamserve.clock import Clock, SystemClock
from streamserve.errors import PlanError
from streamserve.features.base import FeatureBatch, FeatureStatus
from streamserve.features.overlay import OnlineTable, TableOverlay
from streamserve.features.rows import (
    UNKNOWN_MS,
    Selection,
    Times,
    ViewColumns,
    ages_ms,
    as_lists,
    entity_keys,
    sample,
    to_columns,
)
from streamserve.features.service import JoinOptions, ServiceDescription, ViewDescription
from streamserve.observer import Observer
from streamserve.records import Scalar


class OnlineService(Protocol):
    """A feature service on an online store, resolved: what a ``PreparedReader`` reads from."""

    @property
    def description(self) -> ServiceDescription:
        """Return what the service needs and gives."""
        ...

    def table(self, name: str) -> OnlineTable:
        """Return the table ``name`` of the service, or one that a push source feeds."""
        ...

    def compute(
        self, given: Mapping[str, Sequence[Any]], refused: Sequence[FeatureStatus | None]
    ) -> tuple[dict[str, Sequence[Any]], dict[str, Sequence[FeatureStatus]]]:
        """Return columns and statuses of the on-demand features; a row that is refused has that status and no value."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class PreparedReader:
    """A ``FeatureReader`` over any online store.

    A view's rows are asked for in one call a read, each entity once, and kept for ``JoinOptions.cache_max_age``. Pushed
    rows are seen before they are written. Not for several threads at once.
    """

    def __init__(
        self,
        online: OnlineService,
        *,
        options: JoinOptions | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._online = online
        self._options = options or JoinOptions()
        self._observer = observer or Observer()
        self._clock = clock or SystemClock()
        self.description: ServiceDescription = online.description
        self.service = self.description.service
        self.join_keys = self.description.join_keys
        self.request_fields = self.description.request_fields
        self.features: Mapping[str, type] = self.description.features
        self._check_names()
        self._tables: dict[str, TableOverlay] = {}
        self._selections = [(view, self._selection(view)) for view in self.description.views]
        self._accepted: Counter[str] = Counter()
        self._stale: Counter[str] = Counter()

    def read(self, keys: Mapping[str, Sequence[Scalar]], event_times_ms: Sequence[int] | None) -> FeatureBatch:
        """Look up the features of a batch of events; see ``FeatureReader.read``.

        Raises:
            PlanError: ``keys`` lacks a join key or a request field.
            FeatureRowError: a join key is not of its entity's type, or an on-demand view raised.
            OutageError: the online store does not answer.
        """
        started = perf_counter()
        given = as_lists({name: _column(keys, name, self.service) for name in (*self.join_keys, *self.request_fields)})
        times = self._times(given, event_times_ms)
        if not len(times):
            return FeatureBatch(0, {name: [] for name in self.features}, {}, [])
        parts, asked = self._read_views(given, times)
        columns = {name: column for part in parts for name, column in part.columns.items()}
        statuses = {name: column for part in parts for name, column in part.statuses.items()}
        if self.description.on_demand:
            values, computed = self._read_on_demand(given, _first_refusals(parts, len(times)))
            columns |= values
            statuses |= computed
        ages = ages_ms(times, _oldest(parts, len(times)))
        hits = len(times) * len(parts) - asked
        self._observer.features_read(self.service, len(times), hits, perf_counter() - started, sample(ages))
        return FeatureBatch(len(times), {name: columns[name] for name in self.features}, statuses, ages)

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Let later reads see ``rows`` of ``push_source`` at once; see ``FeatureReader.push``.

        A row holds the join keys, features and timestamp field of every view that the source feeds, as for Feast's own
        push.

        Raises:
            PlanError: the repository has no such push source.
            FeatureRowError: a row lacks a field or has one of another type; none of ``rows`` is taken then.
            OutageError: the online store does not answer for the rows that it holds of new entities.
        """
        for name in self._fed_by(push_source):
            accepted = self._table(name).push(rows)
            self._accepted[push_source] += accepted.rows
            self._stale[push_source] += accepted.stale

    def flush_pushes(self) -> None:
        """Write what was pushed to the online store, the newest row of each entity, one call a view.

        Counts for the observer are of rows by view: those taken (a newer one may have come before the flush) and those
        left out as stale.

        Raises:
            OutageError: the store does not answer; call again to write what is left.
        """
        for table in self._tables.values():
            table.flush()
        for source in self._accepted | self._stale:
            self._observer.features_pushed(source, self._accepted[source], self._stale[source])
        self._accepted.clear()
        self._stale.clear()

    def close(self) -> None:
        """Let go of the online store; what was pushed and not flushed is forgotten."""
        self._tables.clear()
        self._online.close()

    def _check_names(self) -> None:
        """Refuse options that speak of a view which the service does not have."""
        views = self.description.views
        known = {view.name for view in views}, {view.table for view in views}
        given = self._options.max_age, self._options.cache_max_ages
        for option, names, allowed in zip(("max_age", "cache_max_ages"), given, known, strict=True):
            if strange := sorted(set(names) - allowed):
                raise PlanError(
                    f"{option} names {strange[0]!r}, which is no view of feature service {self.service!r} "
                    f"(it has: {', '.join(sorted(allowed))})"
                )

    def _table(self, name: str) -> TableOverlay:
        """Return the table ``name``, opened when first needed."""
        if name not in self._tables:
            self._tables[name] = TableOverlay(
                self._online.table(name),
                cached_for=self._options.cached_for(name),
                max_rows=self._options.cache_rows,
                clock=self._clock,
            )
        return self._tables[name]

    def _selection(self, view: ViewDescription) -> Selection:
        held = self._table(view.table).features
        positions = {answered: held.index(stored) for stored, answered in view.features.items()}
        return Selection(positions, self._options.oldest(view))

    def _times(self, given: Mapping[str, Sequence[Any]], event_times_ms: Sequence[int] | None) -> Times:
        sizes = {len(column) for column in given.values()}
        if event_times_ms is not None:
            sizes.add(len(event_times_ms))
        if len(sizes) > 1:
            raise ValueError(f"columns of different lengths for feature service {self.service!r}: {sorted(sizes)}")
        if event_times_ms is None:
            return np.full(sizes.pop() if sizes else 1, self._clock.now_ms(), np.int64)
        return np.asarray(event_times_ms, np.int64)

    def _read_views(self, given: Mapping[str, Sequence[Any]], times: Times) -> tuple[list[ViewColumns], int]:
        """Return each view's columns, and how many row look-ups the online store answered."""
        parts: list[ViewColumns] = []
        asked = 0
        for view, selection in self._selections:
            entities = entity_keys([given[name] for name in view.keys.values()], len(times))
            rows, missed = self._tables[view.table].rows(entities)
            parts.append(to_columns(selection, rows, times))
            asked += missed
        return parts, asked

    def _read_on_demand(
        self, given: Mapping[str, Sequence[Any]], refused: Sequence[FeatureStatus | None]
    ) -> tuple[dict[str, Sequence[Any]], dict[str, Sequence[FeatureStatus]]]:
        # The store is read past our tables and does not have what is still to be written.
        if any(table.pending for table in self._tables.values()):
            self.flush_pushes()
        return self._online.compute(given, refused)

    def _fed_by(self, push_source: str) -> tuple[str, ...]:
        if push_source not in self.description.push_sources:
            known = ", ".join(sorted(self.description.push_sources)) or "none"
            raise PlanError(
                f"no push source {push_source!r} feeds a feature view (known: {known}): correct the name, or define "
                "the source and run `feast apply`"
            )
        return self.description.push_sources[push_source]


def _column(keys: Mapping[str, Sequence[Any]], name: str, service: str) -> Sequence[Any]:
    try:
        return keys[name]
    except KeyError as error:
        raise PlanError(
            f"feature service {service!r} needs {name!r} of each event: add the field, or map another with entity_row"
        ) from error


def _oldest(parts: Sequence[ViewColumns], size: int) -> Times:
    """Return the time of the oldest row that was used, event by event."""
    oldest = np.full(size, UNKNOWN_MS)
    for part in parts:
        np.minimum(oldest, part.oldest_ms, out=oldest)
    return oldest


def _first_refusals(parts: Sequence[ViewColumns], size: int) -> list[FeatureStatus | None]:
    """Say why a row's inputs must not be used, by the first view that says so."""
    refused: list[FeatureStatus | None] = [None] * size
    for part in parts:
        for place, why in enumerate(part.refused or ()):
            refused[place] = refused[place] or why
    return refused
