"""All monitoring of one model in one partition group: rows in; statistics, alarms and state out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from streamserve.baseline import Baseline
from streamserve.monitoring import freezing, snapshots
from streamserve.monitoring.drift import Alarm, ColumnDetectors
from streamserve.monitoring.messages import DriftAlarm, DriftMessage, DriftStatistics
from streamserve.monitoring.plan import MonitorPlan
from streamserve.monitoring.report import Origin, describe_window
from streamserve.monitoring.rows import Columns, Rows
from streamserve.monitoring.statistics import Measures
from streamserve.monitoring.windows import Window, Windows
from streamserve.observer import Observer
from streamserve.records import to_datetime

__all__ = ["Baselines", "GroupMonitor", "MonitorPlan"]

Baselines: TypeAlias = Callable[[str], Baseline]
"""Gives the baseline of a model version, empty where it has none."""

_BLOCK_ROWS = 256
_BLOCK_CELLS = 1024
"""Rows counted at once: 256, or more where few columns keep what a snapshot holds of them small. Statistics are the
same for any split of the stream into batches, because blocks always end at the same rows, or where a window closes."""

_Message = TypeVar("_Message", DriftStatistics, DriftAlarm)

_MESSAGES = TypeAdapter[list[DriftMessage]](list[DriftMessage])


class GroupMonitor:
    """Statistics by window and slice, and drift detectors, of one model in one partition group.

    Call ``update`` with every batch of scored rows; before a commit call ``advance`` with the group's watermark, emit
    what it and ``take_alarms`` return, then keep ``snapshot()``, all in one transaction.

    Guarantees: the same rows, closed at the same places, give the same statistics, alarms and state, however they
    arrive in batches, and whether or not a snapshot and a restore lie between. Detectors see rows in order of arrival
    at once, so an alarm is there after the ``update`` that holds its row. Another model version closes all windows and
    starts afresh with its own baseline: versions are never mixed. Only one version at a time is monitored: give a
    canary a monitor of its own.

    Not thread-safe.
    """

    def __init__(
        self, plan: MonitorPlan, *, partition: int, baselines: Baselines, observer: Observer | None = None
    ) -> None:
        self.plan = plan
        self.partition = partition
        self.dirty = False
        self.discarded: tuple[str, ...] = ()
        self._baselines = baselines
        self._observer = observer or Observer()
        self._messages: list[DriftMessage] = []
        self._begin("", {})

    def _begin(self, version: str, baseline: Baseline) -> None:
        self._version = version
        self._baseline = baseline
        self._measures = Measures.of(self.plan.columns, baseline, self.plan.slices)
        self._layout = self._measures.layout
        self._block = max(_BLOCK_ROWS, _BLOCK_CELLS // max(1, len(self._layout.numeric) + len(self._layout.text)))
        self._windows = Windows(self._measures, self.plan.window_ms)
        self._fingerprint = freezing.fingerprint(self._measures)
        self._frozen: dict[int, snapshots.WindowState] = {}
        self._detectors = {
            name: ColumnDetectors.start(name, templates)
            for name, templates in self.plan.templates.items()
            if name in self._measures.numeric
        }
        self._ordinal = 0
        self._waiting: list[Rows] = []
        self._waiting_rows = 0

    @property
    def version(self) -> str:
        """The model version whose rows are counted; empty before the first."""
        return self._version

    @property
    def late(self) -> int:
        """Rows of this version that came after their window was closed; up to 255 may not be counted yet."""
        return self._windows.late

    def update(self, columns: Columns, event_times_ms: Sequence[int] | NDArray[Any], version: str) -> None:
        """Take in a batch of rows scored by ``version``; see ``read`` and ``take``."""
        self.take(self.read(columns, event_times_ms, version), version)

    def read(self, columns: Columns, event_times_ms: Sequence[int] | NDArray[Any], version: str) -> Rows:
        """Return a batch scored by ``version`` as ``take`` wants it, for any monitor of this plan: it can be cut.

        ``columns`` holds a list or array for every monitored and slice column, ``None`` or NaN where a value is
        missing; ``event_times_ms`` are milliseconds since the epoch, UTC.

        Raises:
            ValueError: a column is missing, of another length, or not numeric as declared.
        """
        if version != self._version:
            self._switch(version)
        return self._layout.rows(columns, event_times_ms)

    def take(self, rows: Rows, version: str) -> None:
        """Take in rows scored by ``version``."""
        if version != self._version:
            self._switch(version)
        if not len(rows):
            return
        self._detect(rows)
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        self._ordinal += len(rows)
        if self._waiting_rows >= self._block:
            self._count_blocks()
        self.dirty = True

    def _switch(self, version: str) -> None:
        """Close all windows of the old version; where the watermark stands is kept."""
        self._count_all()
        self._publish(self._windows.close_all())
        closed_through = self._windows.closed_through
        self._begin(version, self._baselines(version))
        self._windows.closed_through = closed_through
        self.dirty = True

    def _detect(self, rows: Rows) -> None:
        alarms: list[tuple[str, Alarm]] = []
        for name, detectors in self._detectors.items():
            values = rows.numbers[self._measures.numeric.index(name)]
            alarms += [(name, alarm) for alarm in detectors.update(values)]
        for name, alarm in sorted(alarms, key=lambda pair: pair[1].position):
            self._record(name, alarm, int(rows.times[alarm.position]))

    def _record(self, column: str, alarm: Alarm, event_time_ms: int) -> None:
        self._windows.alarm(event_time_ms // self.plan.window_ms, column, alarm.detector)
        message = DriftAlarm(
            model=self.plan.model,
            version=self._version,
            column=column,
            detector=alarm.detector,
            partition=self.partition,
            event_time=to_datetime(event_time_ms),
            ordinal=self._ordinal + alarm.position,
            count=alarm.count,
        )
        self._messages.append(message)
        self._observer.drift_alarm(self.plan.model, column, alarm.detector, self.partition, event_time_ms)

    def _count_blocks(self) -> None:
        rows = Rows.join(self._waiting)
        whole = len(rows) - len(rows) % self._block
        for start in range(0, whole, self._block):
            self._windows.update(rows.cut(start, start + self._block))
        self._waiting_rows = len(rows) - whole
        self._waiting = [rows.cut(whole).copy()] if self._waiting_rows else []

    def _count_all(self) -> None:
        if self._waiting:
            self._windows.update(Rows.join(self._waiting))
            self._waiting, self._waiting_rows = [], 0

    def advance(self, watermark_ms: int) -> list[DriftStatistics]:
        """Close the windows that end at or before the watermark (milliseconds, UTC) and return their statistics.

        Windows that a change of version closed come first. A watermark that goes back changes nothing.
        """
        if self._windows.closes_any(watermark_ms):
            self._count_all()
            self._publish(self._windows.close(watermark_ms))
            self.dirty = True
        return self._take(DriftStatistics)

    def take_alarms(self) -> list[DriftAlarm]:
        """Return the alarms since the last call, in order of arrival of the rows that set them off."""
        return self._take(DriftAlarm)

    def _take(self, kind: type[_Message]) -> list[_Message]:
        if not self._messages:
            return []
        taken = [message for message in self._messages if isinstance(message, kind)]
        if taken:
            self._messages = [message for message in self._messages if not isinstance(message, kind)]
            self.dirty = True
        return taken

    def _publish(self, closed: Sequence[tuple[int, Window]]) -> None:
        for index, window in closed:
            origin = Origin(self.plan.model, self._version, self.partition, index, self.plan.window_ms, self.late)
            for message in describe_window(window, origin, self._measures, self._baseline, self._detectors):
                self._messages.append(message)
                self._observer.drift_window(
                    message.model, message.column, message.slice or "", self.partition, _figures(message)
                )

    def snapshot(self) -> bytes:
        """Return the whole state, what is not taken yet included, and clear ``dirty``.

        Its size is about 2 kB per numeric column and open window, 1 kB more for each doubling of the window's rows
        beyond 512, 0.2 kB per column and slice, and the detectors (ADWIN up to 2.3 kB).

        Raises:
            ConfigurationError: a detector cannot be pickled.
        """
        state = snapshots.GroupState(
            model=self.plan.model,
            version=self._version,
            length_ms=self.plan.window_ms,
            measures=self._fingerprint,
            closed_through=self._windows.closed_through,
            late=self._windows.late,
            ordinal=self._ordinal,
            windows=self._freeze_windows(),
            rows=freezing.dump_rows(self._join_waiting()) if self._waiting else None,
            detectors=freezing.dump_detectors(self._detectors),
            messages=_MESSAGES.dump_json(self._messages) if self._messages else b"",
        )
        self.dirty = False
        return snapshots.write_state(state)

    def _freeze_windows(self) -> dict[int, snapshots.WindowState]:
        """Return the open windows as state; most snapshots fall between two blocks, so they find it made already."""
        if self._windows.changed:
            self._frozen = freezing.dump_windows(self._windows)
            self._windows.changed = False
        return self._frozen

    def _join_waiting(self) -> Rows:
        """Return the rows that are not counted yet, as one: the next snapshot has fewer parts to join."""
        self._waiting = [Rows.join(self._waiting)]
        return self._waiting[0]

    @classmethod
    def restore(
        cls,
        state: bytes,
        plan: MonitorPlan,
        *,
        partition: int,
        baselines: Baselines,
        observer: Observer | None = None,
    ) -> GroupMonitor:
        """Return a monitor that goes on where ``snapshot`` was taken.

        What was made under another configuration starts afresh, and ``discarded`` names it: all of it when the format
        or the model differ; statistics when columns, slices, window length or the baseline's bins do; a detector when
        its class, parameters or sampling do.

        Raises:
            ConfigurationError: the bytes are damaged, or hold what a snapshot never does.
        """
        monitor = cls(plan, partition=partition, baselines=baselines, observer=observer)
        stored = snapshots.read_state(state)
        if stored is None or stored.model != plan.model:
            monitor.discarded = ("everything: written for another model or in another format",)
        elif stored.version:
            monitor._resume(stored)
        return monitor

    def _resume(self, stored: snapshots.GroupState) -> None:
        self._begin(stored.version, self._baselines(stored.version))
        self._ordinal = stored.ordinal
        self._messages = _read_messages(stored.messages)
        discarded: list[str] = []
        if (stored.measures, stored.length_ms) == (self._fingerprint, self.plan.window_ms):
            self._waiting = freezing.load_windows(stored, self._windows)
            self._waiting_rows = sum(map(len, self._waiting))
        else:
            discarded.append("statistics: columns, slices, window length or baseline bins changed")
        for name in self._detectors:
            state, templates = stored.detectors.get(name), self.plan.templates[name]
            self._detectors[name], fresh = freezing.load_detectors(state, name, templates)
            discarded += [f"{detector} on {name}: new or configured differently" for detector in fresh]
        self.discarded = tuple(discarded)


def _read_messages(data: bytes) -> list[DriftMessage]:
    try:
        return _MESSAGES.validate_json(data) if data else []
    except ValidationError as error:
        raise snapshots.unreadable() from error


def _figures(message: DriftStatistics) -> dict[str, float | int | None]:
    return {
        "count": message.count,
        "nulls": message.nulls,
        "mean": message.mean,
        "variance": message.variance,
        "minimum": message.minimum,
        "maximum": message.maximum,
        "psi": message.psi,
        "late": message.late,
    }
