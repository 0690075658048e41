"""Labels: whether they can meet their predictions, and whether what predictions are split by is there."""

from __future__ import annotations

from collections.abc import Iterator

from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import LabelsNode, TopicNode

__all__ = ["problems"]


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with each ``app.labels``."""
    for node in known.plan.labels.values():
        labels, predictions = known.plan.topics[node.labels], known.plan.topics[node.predictions]
        yield from _unkeyed(node, labels, predictions)
        yield from _keyed_differently(known, node, labels, predictions)
        fields = known.event_fields(node.predictions)
        missing = [name for name in node.measure.slices if fields and name not in fields]
        if missing:
            what = f"are split by {', '.join(missing)}, which topic {node.predictions!r} does not have"
            yield Problem(f"labels {node.name!r}", what, "correct slices=, or add the fields to the predictions")


def _unkeyed(node: LabelsNode, *topics: TopicNode) -> Iterator[Problem]:
    for topic in topics:
        if topic.key is None:
            what = f"meet predictions by key, but topic {topic.name!r} has none"
            yield Problem(f"labels {node.name!r}", what, "declare it: app.topic(..., key=...)")


def _keyed_differently(known: Known, node: LabelsNode, labels: TopicNode, predictions: TopicNode) -> Iterator[Problem]:
    """Say so where both keys are fields, and one topic has the other's key as a field too, but is not keyed by it."""
    mine, its = labels.key, predictions.key
    if not (isinstance(mine, str) and isinstance(its, str)) or mine == its:
        return
    if its in known.event_fields(labels.name) or mine in known.event_fields(predictions.name):
        what = f"are keyed by {mine!r}, the predictions of topic {predictions.name!r} by {its!r}: they do not meet"
        yield Problem(f"labels {node.name!r}", what, f"regroup the labels: topic.group_by({its!r})")
