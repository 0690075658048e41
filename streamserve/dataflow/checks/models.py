"""Models against what they are given, what they answer with, and what is monitored of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from streamserve.dataflow.checks.known import Known, fields_of
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import ModelNode, MonitorNode
from streamserve.inference.manifest import PYTHON_TYPES, Manifest
from streamserve.inference.outputs import check_output
from streamserve.inference.signature import check_signature

__all__ = ["problems"]

_FITTING = {
    "binary": "declare output=Binary, the answer of a model of two classes",
    "classification": "declare output=Classification, the answer of a model of more than two classes",
    "regression": "declare output=Regression, the answer of a model of a quantity",
    "custom": "declare as output= a dataclass with the fields of the answers",
}
"""What to do about an output type that a kind of answers does not fill."""


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong between models, their declared inputs, their output types and their monitors."""
    for name, manifest in known.manifests.items():
        node = known.plan.models[name]
        where = f"model {name!r} version {manifest.version!r}"
        yield from _inputs(known, node, manifest, where)
        for what in check_output(node.output, dict.fromkeys(manifest.output.fields)):
            yield Problem(where, what, _FITTING[manifest.output.kind])
        monitor = known.plan.monitor_of(name)
        if monitor is not None:
            yield from _monitor(monitor, manifest)


def _inputs(known: Known, node: ModelNode, manifest: Manifest, where: str) -> Iterator[Problem]:
    if not node.inputs:
        return
    given = [_given(known, item) for item in node.inputs]
    if any(fields is None for fields in given):
        return  # a service that is not known is a problem of its own
    offered = [fields for fields in given if fields is not None]
    available = {name: annotation for fields in offered for name, annotation in fields.items()}
    for what in check_signature(manifest.inputs, available):
        yield Problem(where, what, "add it to an event or a feature service of inputs=, or use another version")
    times = Counter(name for fields in offered for name in fields)
    for spec in manifest.inputs:
        if times[spec.name] > 1:
            what = f"input {spec.name!r} is in {times[spec.name]} of inputs=, so that it is not known which is meant"
            yield Problem(where, what, "rename the field or the feature, or leave it out of one")


def _given(known: Known, item: type | str) -> Mapping[str, Any] | None:
    """Return the columns of an event type or a feature service; ``None`` for an unknown service."""
    if not isinstance(item, str):
        return fields_of(item)
    service = known.services.get(item)
    return None if service is None else service.features


def _monitor(monitor: MonitorNode, manifest: Manifest) -> Iterator[Problem]:
    columns = [*(spec.name for spec in manifest.inputs), *manifest.output.fields]
    chosen = {
        "columns": monitor.columns or (),
        "slices": monitor.slices,
        "detector_columns": monitor.detector_columns or (),
    }
    for option, names in chosen.items():
        for name in names:
            if name not in columns:
                what = f"{option} name {name!r}, which is no input or output of version {manifest.version!r}"
                yield Problem(f"monitor of {monitor.model!r}", what, f"choose from {', '.join(columns)}")
    yield from _detectors(monitor, manifest, set(columns))


def _detectors(monitor: MonitorNode, manifest: Manifest, columns: set[str]) -> Iterator[Problem]:
    """Say which detectors fit no column; the types of a custom output are not known without its model."""
    names = monitor.columns if monitor.columns is not None else tuple(columns)
    chosen = {*names, *monitor.slices, *(monitor.detector_columns or ())}
    if manifest.output.kind == "custom" or chosen - columns or not monitor.detectors:
        return
    from streamserve.monitoring.plan import MonitorPlan

    answers = {"label": bool if manifest.output.kind == "binary" else str, "probability": float, "value": float}
    kinds = {spec.name: PYTHON_TYPES[spec.type] for spec in manifest.inputs}
    kinds |= {name: answers[name] for name in manifest.output.fields if name in answers}
    monitored = {name: kinds[name] for name in names if name in kinds}
    try:
        MonitorPlan(
            monitor.model, monitored, monitor.window_ms, monitor.detectors, monitor.slices, monitor.detector_columns
        )
    except (TypeError, ValueError) as error:
        yield Problem(f"monitor of {monitor.model!r}", str(error), "choose other detectors, columns or window")
