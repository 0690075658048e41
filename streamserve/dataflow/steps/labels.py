"""Matches predictions with labels, and writes what became of them and how good they were."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, TypeVar, cast

from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.faults import agent_error
from streamserve.dataflow.lineage import UNKNOWN, Lineage, lineage_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import LabelsNode
from streamserve.dataflow.planning.plan import GroupKey, part_name
from streamserve.dataflow.steps.agents import Refused
from streamserve.dataflow.steps.turns import Turned, horizons, in_turn, stretches
from streamserve.errors import AgentError, ConfigurationError, EngineRestart, OutageError
from streamserve.monitoring.labels.entries import Label, Outcome, Predicted
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.monitoring.labels.messages import PerformanceReport, encode_matches
from streamserve.observer import Observer
from streamserve.records import Emission, RawRecord

T = TypeVar("T")


class LabelsStep:
    """Runs one label join over the batches of its part: what rows come to is in order, as if each came alone.

    A record that the user's functions fail on, or that has no key, has failed; nothing else notices.
    """

    def __init__(
        self,
        node: LabelsNode,
        topic: str,
        groups: Callable[[], Mapping[GroupKey, Group]],
        refused: Refused,
        observer: Observer,
    ) -> None:
        self.id = part_name(f"labels-{node.name}")
        self._node = node
        self._topic = topic
        self._groups = groups
        self._refused = refused
        self._observer = observer
        self._readers: dict[str, Callable[[RecordBatch, int], Any]] = {
            node.labels: _LabelReader(node),
            **dict.fromkeys(node.read_from, _PredictionReader(node)),
        }

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return what the rows of ``batch``, and the time that they come to, settle."""
        output = StepOutput(self._node.name)
        refused = self._refused(self._node.name, batch)
        ends = self._watermarks(batch)
        for run, end_ms in horizons(batch, ends):
            rows = [row for row in range(run.start, run.stop) if not _is_refused(batch.records[row], refused)]
            self._run(self._state(batch, run.partition), batch, rows, end_ms, output)
        for partition in ends.keys() - set(batch.partitions):
            self._run(self._state(batch, partition), batch, [], ends[partition], output)
        output.failures += refused.values()
        return output

    def _watermarks(self, batch: RecordBatch) -> dict[int, int | None]:
        """Return how far time comes with ``batch``, by partition, in order."""
        partitions = sorted({partition for _, partition in batch.progress} or set(batch.partitions))
        return {partition: self._groups()[batch.part, partition].watermark_ms for partition in partitions}

    def _run(
        self, state: GroupLabels, batch: RecordBatch, rows: Sequence[int], end_ms: int | None, output: StepOutput
    ) -> None:
        """Take ``rows`` of one partition through, in as many stretches as it takes, and write what they come to."""
        turned: list[Turned] = []
        for stretch in stretches(batch, rows, end_ms, lambda: state.closes_at_ms):
            settled: Sequence[Outcome] = self._settle(state, batch, stretch.rows, output.failures)
            taken = stretch.rows
            for stop_ms in () if stretch.reached_ms is None else state.stops(stretch.reached_ms):
                expired, reports = state.advance(stop_ms)
                turned += in_turn(settled, expired, batch, taken, state.plan.within_ms)
                settled, taken = (), ()
                if reports:
                    self._write(batch, turned, reports, output)
                    turned = []
            turned += in_turn(settled, (), batch, taken, state.plan.within_ms)
        self._write(batch, turned, (), output)

    def _write(
        self, batch: RecordBatch, turned: Sequence[Turned], reports: Sequence[PerformanceReport], output: StepOutput
    ) -> None:
        """Add outcomes, and the reports that follow, to ``output``; outcomes that time has settled have no cause."""
        payloads = encode_matches([outcome for outcome, _ in turned])
        for (outcome, row), payload in zip(turned, payloads, strict=True):
            cause = None if row is None else coordinates_of(batch.records[row])
            output.messages.append((Emission(self._topic, payload, outcome.key), cause))
        output.messages += [(self._report(report), None) for report in reports]
        self._count([outcome for outcome, _ in turned])

    def _state(self, batch: RecordBatch, partition: int) -> GroupLabels:
        return cast("GroupLabels", self._groups()[batch.part, partition].tables[self._node.name])

    def _settle(
        self, state: GroupLabels, batch: RecordBatch, rows: Sequence[int], failures: list[Failure]
    ) -> list[Outcome]:
        """Hand the rows of one partition over, in runs of predictions and of labels."""
        settled: list[Outcome] = []
        for topic, run in groupby(rows, key=lambda row: _topic_of(batch, row)):
            reader = self._readers.get(topic)
            if reader is None:
                continue
            keys, entries = self._read(reader, batch, run, failures)
            if topic == self._node.labels:
                settled += state.label(keys, entries)
            else:
                settled += state.predict(keys, entries)
        return settled

    def _read(
        self,
        reader: Callable[[RecordBatch, int], Any],
        batch: RecordBatch,
        rows: Iterator[int],
        failures: list[Failure],
    ) -> tuple[list[bytes], list[Any]]:
        keys: list[bytes] = []
        entries: list[Any] = []
        for row in rows:
            record = batch.records[row]
            try:
                key, entry = self._key_of(record), reader(batch, row)
            except (EngineRestart, OutageError, ConfigurationError):
                raise
            except Exception as raised:
                failures.append(Failure(record, agent_error(self._node.name, raised)))
                continue
            if entry is not None:
                keys.append(key)
                entries.append(entry)
        return keys, entries

    def _key_of(self, record: RawRecord) -> bytes:
        key = record.key()
        if key is None:
            raise AgentError(f"labels {self._node.name!r}: the record has no key to be matched by")
        return key

    def _report(self, report: PerformanceReport) -> Emission:
        figures = dict(report.metrics)
        window = "all" if report.window_start is None else "last"
        names = (report.model or "", report.version or "", report.slice or "")
        self._observer.performance(self._node.name, *names, window, report.partition, figures)
        return Emission(self._topic, report.model_dump_json().encode(), (report.model or "").encode())

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        statuses = [outcome.status for outcome in outcomes]
        for status in sorted(set(statuses)):
            self._observer.labelled(self._node.name, status, statuses.count(status))


class _LabelReader:
    """Makes a ``Label`` of a row, or ``None`` where the label is left out."""

    def __init__(self, node: LabelsNode) -> None:
        self._truth = node.truth
        self._read = _named(node, node.measure.read_truth)

    def __call__(self, batch: RecordBatch, row: int) -> Label | None:
        truth = self._truth(batch.values[row])
        return None if truth is None else Label(_time_of(batch, row), self._read(truth))


class _PredictionReader:
    """Makes a ``Predicted`` of a row."""

    def __init__(self, node: LabelsNode) -> None:
        self._score = node.score
        self._read = _named(node, node.measure.read_score)
        self._slices = node.measure.slices

    def __call__(self, batch: RecordBatch, row: int) -> Predicted:
        value = batch.values[row]
        score = self._read(self._score(value))
        lineage = self._lineage(value, batch.records[row])
        slices = tuple([_text(_field(value, name)) for name in self._slices]) if self._slices else ()
        return Predicted(_time_of(batch, row), score, *lineage, slices)

    def _lineage(self, value: Any, record: RawRecord) -> Lineage:
        """Return the value's own fields, what its header says where there is none."""
        if _lacks_lineage(value.__class__):
            return _told(record)
        own = [_text(_field(value, name)) for name in Lineage._fields]
        if None not in own:
            return Lineage(*cast("list[str]", own))
        return Lineage(*(mine or its for mine, its in zip(own, _told(record), strict=True)))


_parsed = lru_cache(maxsize=256)(Lineage.parse)


def _told(record: RawRecord) -> Lineage:
    header = lineage_of(record)
    return UNKNOWN if header is None else _parsed(header)


@lru_cache(maxsize=256)
def _lacks_lineage(kind: type) -> bool:
    """Return whether values of ``kind``, a struct's type, have no field of a lineage."""
    fields: Collection[str] | None = getattr(kind, "__struct_fields__", None)
    return fields is not None and not any(hasattr(kind, name) for name in Lineage._fields)


def _named(node: LabelsNode, read: Callable[[object], T]) -> Callable[[object], T]:
    """Return ``read``, whose refusals, which quote no value, become failures of the record."""

    def checked(value: object) -> T:
        try:
            return read(value)
        except ValueError as error:
            raise AgentError(f"labels {node.name!r}: {error}") from None

    return checked


def _topic_of(batch: RecordBatch, row: int) -> str:
    return batch.topics if isinstance(batch.topics, str) else batch.topics[row]


def _time_of(batch: RecordBatch, row: int) -> int:
    return batch.times_ms[row] if batch.times_ms is not None else batch.records[row].timestamp()[1]


def _field(value: Any, name: str) -> object:
    return cast("Mapping[str, object]", value).get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _is_refused(record: RawRecord, refused: Collection[Any]) -> bool:
    return bool(refused) and coordinates_of(record) in refused
