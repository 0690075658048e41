"""Counts events into windows before agents see them, and writes results when windows close or change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, cast

from streamserve.codecs.base import ValueCodec
from streamserve.dataflow.batch import Cause, Failure, Lost, LostResult, RecordBatch, Run, StepOutput, column_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import WindowNode
from streamserve.dataflow.planning.plan import GroupKey
from streamserve.dataflow.steps.tables import rows_of
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import EncodeError, OversizeError, RecordError, WindowError
from streamserve.observer import Observer
from streamserve.records import Emission, ResultOrigin, Window, to_datetime
from streamserve.state.windows import WindowedState, WindowResult

_SEPARATOR = b"\x1f"
"""ASCII's unit separator, between a record's key and the fields that divide it further; in those it becomes a space."""


class WindowStep:
    """Runs one window over the batches of its part.

    Each row, of whatever topic, gets the aggregate of its key as of its own place; rows of the source are counted
    first. A batch's results stand in ``RecordBatch.windows`` under the window's name. An event that the aggregate
    cannot take, or on which its function raises, is a failure of this step: it is not counted, and agents see it all
    the same. A result that cannot be made or written, or that the broker is known to refuse (``refuses`` tells), is one
    of ``StepOutput.lost``: its window is closed all the same.
    """

    def __init__(
        self,
        node: WindowNode,
        groups: Callable[[], Mapping[GroupKey, Group]],
        writer: TopicWriter | None,
        key_field: str | None,
        observer: Observer,
        refuses: Callable[[ResultOrigin], bool],
    ) -> None:
        self._node = node
        self._groups = groups
        self._results = None if writer is None else _ResultWriter(node, writer, key_field, refuses)
        self._divides = [attrgetter(name) for name in node.by]
        self._observer = observer

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Count ``batch``, note what its rows see, and return the results that are due."""
        column: list[Any] = []
        found: list[WindowResult[Any]] = []
        output = StepOutput(self._node.name)
        for run in batch.runs():
            state = self._state(batch, run.partition)
            column += self._count(state, batch, run, found, output.failures)
        batch.windows[self._node.name] = column
        found += self._closed(batch)
        if self._results is not None:
            output.messages = self._results.write(found, output.lost)
        return output

    def _state(self, batch: RecordBatch, partition: int) -> WindowedState[Any]:
        return cast("WindowedState[Any]", self._groups()[batch.part, partition].tables[self._node.name])

    def _count(
        self,
        state: WindowedState[Any],
        batch: RecordBatch,
        run: Run,
        found: list[WindowResult[Any]],
        failures: list[Failure],
    ) -> list[Any]:
        before, seen, place = state.late, list[Any](), run.start
        for row, reached_ms in self._late(batch, run):
            seen += self._count_rows(state, batch, run._replace(start=place, stop=row), found, failures)
            found += self._move(state, reached_ms)
            place = row
        seen += self._count_rows(state, batch, run._replace(start=place), found, failures)
        if state.late > before:
            self._observer.late(self._node.name, state.late - before)
        return seen

    def _late(self, batch: RecordBatch, run: Run) -> list[tuple[int, int]]:
        """Return the rows whose windows may have ended by their turn, and how far time must have come before each.

        For all others it makes no difference when windows that have ended are closed.
        """
        grace_ms, rows = self._node.window.grace_ms, slice(run.start, run.stop)
        times, reached = (batch.times_ms or ())[rows], (batch.reached_ms or ())[rows]
        if not reached or min(times) >= reached[-1] - grace_ms:
            return []
        turns = enumerate(zip(times, reached, strict=True), run.start)
        return [(row, reached_ms) for row, (time_ms, reached_ms) in turns if time_ms < reached_ms - grace_ms]

    def _count_rows(
        self,
        state: WindowedState[Any],
        batch: RecordBatch,
        run: Run,
        found: list[WindowResult[Any]],
        failures: list[Failure],
    ) -> list[Any]:
        if run.start == run.stop:
            return []
        rows = slice(run.start, run.stop)
        keys, unkeyed = self._keys(batch, rows)
        times = (batch.times_ms or [])[rows]
        values, counted = batch.values[rows], rows_of(batch, [self._node.source])[rows]
        if self._results is None or self._node.emit == "close":
            seen, faults = state.count(keys, times, values, counted)
        else:
            seen, faults = self._changes(state, keys, times, values, counted, found)
        faults.update((row, fault) for row, fault in unkeyed.items() if counted[row])
        failures += [Failure(batch.records[run.start + row], fault) for row, fault in sorted(faults.items())]
        return seen

    def _move(self, state: WindowedState[Any], watermark_ms: int) -> list[WindowResult[Any]]:
        """Let time come to ``watermark_ms``; return the results of windows that this ends, where they are wanted."""
        if self._results is not None and self._node.emit == "close":
            return state.closed(watermark_ms)
        state.advance(watermark_ms)
        return []

    def _changes(
        self,
        state: WindowedState[Any],
        keys: Sequence[bytes | None],
        times: Sequence[int],
        values: Sequence[Any],
        counted: Sequence[bool],
        found: list[WindowResult[Any]],
    ) -> tuple[list[Any], dict[int, RecordError]]:
        """Count row by row, and keep the result of each that changed one."""
        seen: list[Any] = []
        faults: dict[int, RecordError] = {}
        for row, (key, time_ms, value, counts) in enumerate(zip(keys, times, values, counted, strict=True)):
            late = state.late
            (answer,), fault = state.count([key], [time_ms], [value], [counts])
            seen.append(answer)
            if fault:
                faults[row] = fault[0]
            elif counts and key is not None and state.late == late:
                found.append(state.result_at(key, time_ms, answer))
        return seen, faults

    def _keys(self, batch: RecordBatch, rows: slice) -> tuple[list[bytes | None], dict[int, RecordError]]:
        """Return the windows' keys of ``rows``, and why some of them have none."""
        keys: list[bytes | None] = column_of(batch.records[rows], "key")
        faults: dict[int, RecordError] = {}
        if not self._divides:
            return keys, faults
        for row, (key, value) in enumerate(zip(keys, batch.values[rows], strict=True)):
            try:
                keys[row] = self._divided(key, value)
            except Exception as raised:
                keys[row] = None
                faults[row] = WindowError(f"window {self._node.name!r}: a field of by= raised {type(raised).__name__}")
        return keys, faults

    def _divided(self, key: bytes | None, value: Any) -> bytes | None:
        """Return ``key`` with the fields that divide it; ``None`` where the event has not got them."""
        if key is None:
            return None
        try:
            parts = [get(value) for get in self._divides]
        except AttributeError:
            return None
        if None in parts:
            return None
        return _SEPARATOR.join([key, *(str(part).encode().replace(_SEPARATOR, b" ") for part in parts)])

    def _closed(self, batch: RecordBatch) -> list[WindowResult[Any]]:
        """Move the windows of the batch's groups on to their watermarks."""
        closed: list[WindowResult[Any]] = []
        for partition in sorted({partition for _, partition in batch.progress} or set(batch.partitions)):
            watermark = self._groups()[batch.part, partition].watermark_ms
            if watermark is not None:
                closed += self._move(self._state(batch, partition), watermark)
        return closed


class WindowSteps:
    """Runs all windows of a part; their results are taken by the step after, their failures settled by ``settle``."""

    def __init__(self, steps: Sequence[WindowStep], settle: Callable[[StepOutput], StepOutput]) -> None:
        self._steps = steps
        self._settle = settle
        self._results: list[tuple[Emission, Cause]] = []

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Return ``batch`` with what its rows see."""
        self._results = [message for step in self._steps for message in self._settle(step(batch)).messages]
        return batch

    def take_results(self, _: RecordBatch) -> StepOutput | None:
        """Return what windows came to with the last batch."""
        results, self._results = self._results, []
        return StepOutput("windows", messages=results) if results else None


class _ResultWriter:
    """Encodes results for the window's topic; fields are filled by name, or ``output`` builds the value."""

    def __init__(
        self,
        node: WindowNode,
        writer: TopicWriter,
        key_field: str | None,
        refuses: Callable[[ResultOrigin], bool],
    ) -> None:
        self._node = node
        self._writer = writer
        self._refuses = refuses
        self._build = node.output or _filler(writer.codec, node, key_field)

    def write(self, results: Sequence[WindowResult[Any]], lost: list[Lost]) -> list[tuple[Emission, Cause]]:
        """Return one message for each result, in order, and add those that are at fault to ``lost``."""
        made: list[WindowResult[Any]] = []
        values: list[Any] = []
        for result in results:
            try:
                value = self._value(result)
            except RecordError as error:
                lost.append(self._lost(result, error))
                continue
            if value is not None:
                made.append(result)
                values.append(value)
        payloads, keys = self._writer.encode(values) if values else ([], [])
        messages: list[tuple[Emission, Cause]] = []
        for result, payload, key in zip(made, payloads, keys, strict=True):
            if isinstance(payload, EncodeError):
                lost.append(self._lost(result, payload))
                continue
            origin = ResultOrigin(self._node.name, result.key, result.start_ms, len(payload))
            if self._refuses(origin):
                lost.append(self._lost(result, self._oversize(origin.size)))
            else:
                messages.append((Emission(self._writer.topic, payload, key), origin))
        return messages

    def _oversize(self, size: int) -> OversizeError:
        topic = self._writer.topic
        return OversizeError(
            f"window {self._node.name!r}: the broker refuses a result of {size} bytes for topic {topic!r}:"
            f" raise max.message.bytes of {topic!r}, or let output= write less"
        )

    def _value(self, result: WindowResult[Any]) -> Any:
        """Return what is written of ``result``.

        Raises:
            RecordError: there is no such thing.
        """
        if result.fault is not None:
            raise result.fault
        try:
            return self._build(self._shown(result))
        except Exception as raised:
            what = "output= raised" if self._node.output is not None else "its fields cannot be filled:"
            raise WindowError(
                f"window {self._node.name!r}: a result does not become a value of topic {self._writer.topic!r}:"
                f" {what} {type(raised).__name__}"
            ) from raised

    def _lost(self, result: WindowResult[Any], error: RecordError) -> LostResult:
        return LostResult(self._node.name, result.key, result.start_ms, result.end_ms, error)

    def _shown(self, result: WindowResult[Any]) -> Window[Any]:
        key = result.key.decode(errors="replace")
        keys = key.rsplit(_SEPARATOR.decode(), len(self._node.by)) if self._node.by else [key]
        return Window(tuple(keys), to_datetime(result.start_ms), to_datetime(result.end_ms), result.value)


def _filler(codec: ValueCodec[Any], node: WindowNode, key_field: str | None) -> Callable[[Window[Any]], Any]:
    """Return what fills a value's fields by name: ``start``, ``end``, ``value`` (or the window's name), and the key.

    The key goes into ``key`` or into the field that the source is keyed by, dividing fields into those of their names.
    """
    names = (key_field or "key", *node.by)

    def fill(window: Window[Any]) -> Any:
        known = {
            **dict(zip(names, window.keys, strict=True)),
            "key": window.key,
            "start": window.start,
            "end": window.end,
            "value": window.value,
            node.name: window.value,
        }
        return codec.value_type(**{name: known[name] for name in codec.fields})

    return fill
