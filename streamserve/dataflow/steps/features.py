"""The join with a feature service: for whole columns, and as the answer to agents' look-ups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, cast
from zlib import crc32

import msgspec

from streamserve.dataflow.batch import RecordBatch, coordinates_of
from streamserve.dataflow.driving.effects import Answers, Ready
from streamserve.dataflow.driving.foresight import Columns, Foreseen, fields_of
from streamserve.dataflow.planning.nodes import FeaturesNode
from streamserve.dataflow.steps.pushes import push_all
from streamserve.errors import ConfigurationError, FeatureRowError
from streamserve.features.base import BatchRow, FeatureBatch, FeatureReader, FeatureRow, FeatureStatus
from streamserve.observer import Observer
from streamserve.records import Coordinates, Emission, to_datetime


class FeatureJoin:
    """Asks one feature service for batches of events.

    ``rows_used`` collects what is logged until ``drain`` is called at the end of the step; ``observer`` hears how many
    of them cannot be.
    """

    priority = 0

    def __init__(
        self, node: FeaturesNode, reader: FeatureReader, log_topic: str, observer: Observer | None = None
    ) -> None:
        self.node = node
        self._reader = reader
        self._log_topic = log_topic
        self._observer = observer or Observer()
        wanted = (*reader.join_keys, *reader.request_fields)
        self._getters: Mapping[str, Callable[[Any], Any]] = {
            name: attrgetter(node.entity_row.get(name, name)) for name in wanted
        }
        self._rows_used: list[tuple[int, FeatureBatch, int]] = []
        self._fields = fields_of([node.entity_row.get(name, name) for name in wanted])
        self._asking: tuple[RecordBatch, Sequence[int]] | None = None
        self._used_before = 0
        self.foreseen: Ready | None = None
        self._is_pushed_to = False
        self._pusher = Pusher(reader)

    @property
    def feature_names(self) -> Collection[str]:
        """Return the names of the service's features, and of the windows that join them."""
        return [*self._reader.features, *self.node.windows]

    def read(
        self,
        events: Sequence[Any],
        times_ms: Sequence[int] | None,
        rows: Sequence[int],
        windows: Mapping[str, Sequence[Any]] | None = None,
    ) -> tuple[FeatureBatch, dict[int, FeatureRowError]]:
        """Look up the features of ``events``; those that cannot be asked for come back as errors by position.

        ``rows`` are the events' rows in the step's batch, for the log and for ``windows``: the batch's windows, as each
        of its rows sees them.
        """
        found, errors = self._look_up(events, times_ms, rows, windows)
        self._note_used(found, ((row, index) for index, row in enumerate(rows) if index not in errors))
        return found, errors

    def _look_up(
        self,
        events: Sequence[Any],
        times_ms: Sequence[int] | None,
        rows: Sequence[int],
        windows: Mapping[str, Sequence[Any]] | None,
    ) -> tuple[FeatureBatch, dict[int, FeatureRowError]]:
        errors: dict[int, FeatureRowError] = {}
        try:
            found = self._read(events, times_ms)
        except FeatureRowError as error:
            errors = self._faulty(events, times_ms, error)
            found = self._read_around(events, times_ms, errors)
        if self.node.windows:
            found = self._with_windows(found, windows or {}, rows)
        return found, errors

    def _note_used(self, found: FeatureBatch, used: Iterable[tuple[int, int]]) -> None:
        """Keep for the log which rows were given to user code, and where in ``found`` they stand."""
        if self.node.log_rate > 0:
            self._rows_used.extend((row, found, index) for row, index in used)

    def _with_windows(
        self, found: FeatureBatch, windows: Mapping[str, Sequence[Any]], rows: Sequence[int]
    ) -> FeatureBatch:
        """Return ``found`` with the aggregates that the rows see; that of nothing is missing, as Feast's nulls are."""
        seen = {name: list(map(windows[window].__getitem__, rows)) for name, window in self.node.windows.items()}
        nulls: dict[str, list[FeatureStatus]] = {
            name: ["null" if value is None else "present" for value in column]
            for name, column in seen.items()
            if None in column
        }
        return FeatureBatch(found.size, {**found.columns, **seen}, {**found.status, **nulls}, found.ages_ms)

    def _read(self, events: Sequence[Any], times_ms: Sequence[int] | None) -> FeatureBatch:
        try:
            keys = {name: list(map(getter, events)) for name, getter in self._getters.items()}
        except AttributeError as error:
            text = f"features {self.node.service!r} need field {error.name!r}, which the event asked for does not have"
            raise FeatureRowError(text) from None
        except Exception as raised:
            text = f"features {self.node.service!r}: a field of the event asked for raised {type(raised).__name__}"
            raise FeatureRowError(text) from raised
        self._observer.entered("features", self.node.service)
        try:
            return self._reader.read(keys, times_ms)
        finally:
            self._observer.left()

    def _faulty(
        self, events: Sequence[Any], times_ms: Sequence[int] | None, error: FeatureRowError
    ) -> dict[int, FeatureRowError]:
        """Halve the batch until only the events at fault are left."""
        if len(events) == 1:
            return {0: error}
        faulty: dict[int, FeatureRowError] = {}
        middle = len(events) // 2
        for start, stop in ((0, middle), (middle, len(events))):
            times = None if times_ms is None else times_ms[start:stop]
            try:
                self._read(events[start:stop], times)
            except FeatureRowError as inner:
                found = self._faulty(events[start:stop], times, inner)
                faulty.update({start + position: cause for position, cause in found.items()})
        return faulty

    def _read_around(
        self, events: Sequence[Any], times_ms: Sequence[int] | None, faulty: Mapping[int, object]
    ) -> FeatureBatch:
        """Read what can be read; the faulty positions get the values of none."""
        good = [position for position in range(len(events)) if position not in faulty]
        found = self._read(
            [events[position] for position in good],
            None if times_ms is None else [times_ms[position] for position in good],
        )
        place = {position: index for index, position in enumerate(good)}
        spread = [place.get(position) for position in range(len(events))]

        def scatter(column: Sequence[Any], filler: Any) -> list[Any]:
            return [filler if index is None else column[index] for index in spread]

        return FeatureBatch(
            len(events),
            {name: scatter(column, None) for name, column in found.columns.items()},
            {name: scatter(column, "not-found") for name, column in found.status.items()},
            scatter(found.ages_ms, 0),
        )

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:
        """Answer agents' look-ups: a row for each event, or the error to raise there."""
        times_ms = batch.times_ms if batch is not None else None
        times = None if times_ms is None else list(map(times_ms.__getitem__, rows))
        found, errors = self.read(payloads, times, rows, batch.windows if batch is not None else None)
        return Answers(self._answers(found, errors), errors)

    def _answers(self, found: FeatureBatch, errors: dict[int, FeatureRowError]) -> list[Any]:
        """Return the rows of ``found`` as agents see them, and add to ``errors`` what they cannot be."""
        answers: list[Any] = list(map(BatchRow, repeat(found, found.size), range(found.size)))
        if self.node.row_type is not None:
            self._build(self.node.row_type, answers, errors)
        return answers

    def given(self, payload: Any) -> Sequence[Any] | None:
        """Return the event that is asked for."""
        return (payload,)

    def foresee(self, columns: Columns, event: int, places: Mapping[int, int], batch: RecordBatch) -> Foreseen | None:
        """Look up all of ``batch`` at once; see ``Foreseeing``."""
        if self._is_pushed_to:
            return None
        events = columns[event]
        found, errors = self._look_up(events, batch.times_ms, range(len(batch)), batch.windows)
        answers = self._answers(found, errors)
        return Foreseen(events, places, self._fields, answers, errors, found)

    def settle(self, foreseen: Foreseen) -> None:
        """Log the rows that were taken."""
        self._note_used(foreseen.result, ((row, row) for row in foreseen.rows()))

    def begin_push(self) -> Pusher:
        """Return what answers a push; look-ups have to see it, so none is answered before it is asked any more."""
        self._is_pushed_to, self.foreseen = True, None
        return self._pusher

    def _build(self, row_type: type, rows: list[Any], errors: dict[int, FeatureRowError]) -> None:
        """Put instances of the user's type in the place of ``rows``; a row that it refuses is an error."""
        for position, row in enumerate(rows):
            if position in errors:
                continue
            try:
                rows[position] = row_type(**row)
            except Exception as raised:
                # what the type says about the row may hold its values
                text = f"features {self.node.service!r}: {row_type.__name__} refuses the row: {type(raised).__name__}"
                errors[position] = FeatureRowError(text)

    def look_at(self, batch: RecordBatch, rows: Sequence[int]) -> None:
        """Note for which rows a batch agent is about to ask."""
        self._asking = (batch, rows)
        self._used_before = len(self._rows_used)

    def forget_look(self) -> None:
        """Forget what a batch agent asked for since ``look_at``: it raised, and is given the rows again."""
        del self._rows_used[self._used_before :]

    def forget(self, rows: Collection[int]) -> None:
        """Forget what was asked for ``rows``: their agent raised, and is given them again."""
        self._rows_used = [used for used in self._rows_used if used[0] not in rows]

    def many(self, events: Sequence[Any]) -> Sequence[Any]:
        """Answer a batch agent: a row for each event, which must be among those that it was given.

        Raises:
            FeatureRowError: one of the events cannot be asked for.
            ConfigurationError: an event is not one of the batch's.
        """
        if self._asking is None:
            raise ConfigurationError(f"features {self.node.service!r}: get_many answers inside a batch agent")
        batch, rows = self._asking
        places = {id(event): row for row in rows for event in _events_of(batch.values[row])}
        try:
            asked = [places[id(event)] for event in events]
        except KeyError:
            raise ConfigurationError(
                f"features {self.node.service!r}: get_many takes events of the batch, not copies of them"
            ) from None
        values, errors = self.resolve(events, asked, batch)
        for error in errors.values():
            raise error
        return values

    def drain(self, batch: RecordBatch) -> list[tuple[Emission, Coordinates]]:
        """Return log records, each with its input, of the rows used since the last call, in the input's order."""
        used, self._rows_used = self._rows_used, []
        if not used:
            return []
        used.sort(key=lambda item: item[0])
        records = [
            (self._log_record(batch, row, found.row(index)), coordinates_of(batch.records[row]))
            for row, found, index in used
            if _sampled(batch, row, self.node.log_rate)
        ]
        logged = [(emission, place) for emission, place in records if emission is not None]
        if len(logged) < len(records):
            self._observer.features_unlogged(self.node.service, len(records) - len(logged))
        return logged

    def _log_record(self, batch: RecordBatch, row: int, features: FeatureRow) -> Emission | None:
        """Return the row for the log, ``None`` where a value of it has no JSON form: that must not end the worker."""
        try:
            return self._encoded(batch, row, features)
        except (TypeError, ValueError, OverflowError):
            return None

    def _encoded(self, batch: RecordBatch, row: int, features: FeatureRow) -> Emission:
        record = batch.records[row]
        topic, partition, offset = coordinates_of(record)
        time_ms = batch.times_ms[row] if batch.times_ms is not None else record.timestamp()[1]
        value = {
            "service": self.node.service,
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
            "event_time": to_datetime(time_ms),
            "features": dict(features),
            "status": {name: status for name, status in features.status.items() if status != "present"},
            "age_seconds": features.age.total_seconds(),
        }
        return Emission(self._log_topic, msgspec.json.encode(value), record.key())


def _events_of(value: Any) -> tuple[Any, ...]:
    """Return what a batch agent may ask for: the event; of a pair, each of both."""
    return (value, *cast("tuple[Any, ...]", value)) if _is_pair(value) else (value,)


def _is_pair(value: Any) -> bool:
    return type(value) is tuple


class Pusher:
    """Answers ``features.push`` of agents; pushes come before the look-ups and predictions that wait beside them."""

    priority = -1

    foreseen: Ready | None = None

    def __init__(self, reader: FeatureReader) -> None:
        self._reader = reader

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:  # noqa: ARG002 - the port of targets
        """Push each payload, a push source and a row, in order."""
        errors: dict[int, FeatureRowError] = {}
        for position, (source, value) in enumerate(payloads):
            for error in push_all(self._reader, source, [value]).values():
                errors[position] = error
        return Answers([None] * len(payloads), errors)

    def forget(self, rows: Collection[int]) -> None:
        """Do nothing: what was pushed stays pushed."""


def _sampled(batch: RecordBatch, row: int, rate: float) -> bool:
    """Return whether ``row`` is logged: decided by its coordinates, so that a replay logs the same rows."""
    if rate >= 1:
        return True
    return crc32(str(coordinates_of(batch.records[row])).encode()) < rate * 0x1_0000_0000
