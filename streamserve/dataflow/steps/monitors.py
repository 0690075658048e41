"""Feeds monitors with what was scored, and emits what they find, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, compress, islice
from operator import eq, lt
from typing import Any, cast

import numpy as np

from streamserve.baseline import Baseline
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.owning.groups import Group, GroupState
from streamserve.dataflow.planning.nodes import MonitorNode
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.dataflow.runtime import LoadedModel
from streamserve.dataflow.steps.models import FORGOTTEN, ModelScorer, Observation
from streamserve.errors import PackageError, PlanError
from streamserve.inference.package import load_package
from streamserve.inference.runner import Runner, Scores
from streamserve.monitoring.monitor import Baselines, GroupMonitor, MonitorPlan
from streamserve.observer import Observer
from streamserve.records import Emission

_MONITORED = (str, int, float, bool)


class Monitors:
    """The monitors of all models of an app, one per partition group.

    ``groups`` are the engine's, where the monitors live as named states.
    """

    def __init__(
        self,
        plans: Mapping[str, MonitorPlan],
        baselines: Mapping[str, Baselines],
        groups: Callable[[], Mapping[GroupKey, Group]],
        topic: str,
        observer: Observer,
    ) -> None:
        self._plans = plans
        self._baselines = baselines
        self._groups = groups
        self._topic = topic
        self._observer = observer

    def new_states(self, group: Group, snapshots: Mapping[str, bytes]) -> dict[str, GroupState]:
        """Return the monitors of ``group``, restored from ``snapshots`` where they have one."""
        return {name: self._monitor(name, group.partition, snapshots.get(name)) for name in self._plans}

    def _monitor(self, name: str, partition: int, snapshot: bytes | None) -> GroupMonitor:
        plan, baselines = self._plans[name], self._baselines[name]
        if snapshot is None:
            return GroupMonitor(plan, partition=partition, baselines=baselines, observer=self._observer)
        monitor = GroupMonitor.restore(
            snapshot, plan, partition=partition, baselines=baselines, observer=self._observer
        )
        if monitor.discarded:
            self._observer.state_discarded(f"monitor of {name}", partition, monitor.discarded)
        return monitor

    def observe(self, batch: RecordBatch, scorer: ModelScorer, failed: Collection[int] = ()) -> list[Emission]:
        """Take in what ``scorer`` scored of ``batch``; return the windows that closed and the alarms raised.

        The rows ``failed``, whose prediction nobody sees, are not counted.
        """
        observations = scorer.take_observations()
        if scorer.has_forgotten:
            scorer.has_forgotten, failed = False, {*failed, FORGOTTEN}
        plan = self._plans.get(scorer.node.name)
        if plan is None:
            return []
        if observations and batch.times_ms is not None:
            self._update(batch, plan, observations, failed, scorer.runner.version, batch.times_ms)
        return self._messages(batch.part, plan.model)

    def _update(
        self,
        batch: RecordBatch,
        plan: MonitorPlan,
        observations: Sequence[Observation],
        failed: Collection[int],
        version: str,
        times_ms: Sequence[int],
    ) -> None:
        """Give each partition's monitor its rows in the input's order, refused and failed rows left out."""
        names = [*plan.columns, *(name for name in plan.slices if name not in plan.columns)]
        rows, columns = _joined(observations, names, failed)
        whole = len(rows) == len(batch) and (isinstance(rows, range) or all(map(eq, rows, range(len(rows)))))
        seen = batch if whole else batch.take(rows)
        times = times_ms if whole else [times_ms[row] for row in rows]
        runs = seen.runs()
        if not runs:
            return
        taken = self._of(batch.part, runs[0].partition, plan.model).read(columns, times, version)
        for partition, start, stop in runs:
            self._of(batch.part, partition, plan.model).take(taken.cut(start, stop), version)

    def _of(self, part: str, partition: int, model: str) -> GroupMonitor:
        return cast("GroupMonitor", self._groups()[part, partition].states[model])

    def _messages(self, part: str, model: str) -> list[Emission]:
        emissions: list[Emission] = []
        for (name, partition), group in self._groups().items():
            if name != part or group.watermark_ms is None:
                continue
            monitor = self._of(part, partition, model)
            found = [*monitor.advance(group.watermark_ms), *monitor.take_alarms()]
            emissions.extend(
                Emission(self._topic, message.model_dump_json().encode(), model.encode()) for message in found
            )
        return emissions


def open_monitors(
    plan: Plan,
    models: Mapping[str, LoadedModel],
    groups: Callable[[], Mapping[GroupKey, Group]],
    observer: Observer,
) -> Monitors | None:
    """Return the monitors that ``plan`` asks for, or ``None``.

    Raises:
        PlanError: a monitor names a column that its model has not, or a detector fits none.
    """
    if not plan.monitors:
        return None
    plans = {node.model: _monitor_plan(node, models[node.model].runner) for node in plan.monitors}
    baselines = {name: _baselines(models[name]) for name in plans}
    return Monitors(plans, baselines, groups, plan.drift_topic, observer)


def _monitor_plan(node: MonitorNode, runner: Runner) -> MonitorPlan:
    known = {**runner.inputs, **{name: kind for name, kind in runner.outputs.items() if kind in _MONITORED}}
    names = node.columns if node.columns is not None else tuple(known)
    unknown = sorted({*names, *node.slices} - known.keys())
    if unknown:
        raise PlanError(f"monitor of {node.model!r}: no input or output {unknown}; there are {sorted(known)}")
    try:
        return MonitorPlan(
            node.model,
            {name: known[name] for name in names},
            node.window_ms,
            node.detectors,
            node.slices,
            node.detector_columns,
        )
    except (TypeError, ValueError) as error:
        raise PlanError(str(error)) from error


def _baselines(model: LoadedModel) -> Baselines:
    """Return the look-up of baselines by version.

    One version is loaded; another is asked for where a restore finds windows that it left open, and stands beside it.
    """

    @cache
    def baseline_of(version: str) -> Baseline:
        if model.package is None:
            return {}
        if version == model.runner.version:
            return model.package.manifest.baseline
        try:
            return load_package(model.package.path.parent / version).manifest.baseline
        except PackageError:
            return {}

    return baseline_of


def _joined(
    observations: Sequence[Observation], names: Sequence[str], failed: Collection[int]
) -> tuple[Sequence[int], dict[str, Sequence[Any]]]:
    """Return the rows that were scored and did not fail, in the input's order, and their named inputs and outputs."""
    if len(observations) == 1 and _ascending(observations[0].rows):
        return _sifted(observations[0], names, failed)
    flat = list(chain.from_iterable(seen.rows for seen in observations))
    refused = {*_refused(observations), *(index for index, row in enumerate(flat) if row in failed)}
    order: list[int] = np.argsort(np.array(flat, dtype=np.int64), kind="stable").tolist()
    if refused:
        order = [index for index in order if index not in refused]
    ordered: dict[str, Sequence[Any]] = {}
    for name in names:
        values = list(chain.from_iterable(_named(seen.columns, seen.scores, name) for seen in observations))
        ordered[name] = list(map(values.__getitem__, order))
    return list(map(flat.__getitem__, order)), ordered


def _sifted(
    seen: Observation, names: Sequence[str], failed: Collection[int]
) -> tuple[Sequence[int], dict[str, Sequence[Any]]]:
    """Return what ``_joined`` does of one run in the input's order."""
    rows, columns, scores = seen
    named = {name: _named(columns, scores, name) for name in names}
    if not failed and not scores.errors:
        return rows, named
    kept = [row not in failed and index not in scores.errors for index, row in enumerate(rows)]
    return list(compress(rows, kept)), {name: _kept(column, kept) for name, column in named.items()}


def _kept(column: Any, kept: Sequence[bool]) -> Sequence[Any]:
    return column[np.array(kept)] if hasattr(column, "dtype") else list(compress(column, kept))


def _refused(observations: Sequence[Observation]) -> Iterator[int]:
    """Yield the places, counted through all observations, of the rows that the model refused."""
    start = 0
    for rows, _, scores in observations:
        yield from (start + index for index in scores.errors)
        start += len(rows)


def _ascending(rows: Sequence[int]) -> bool:
    return isinstance(rows, range) or all(map(lt, rows, islice(rows, 1, None)))


def _named(columns: Mapping[str, Sequence[Any]], scores: Scores, name: str) -> Sequence[Any]:
    """Return output ``name``, or input ``name`` where the model has no such output."""
    return scores.columns[name] if name in scores.columns else columns[name]
