"""``app.score``: whether its model's inputs and its output's fields are each found in one place, and fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.checks.results import Given, exactly, given, refused
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.runtime import codec_of
from streamserve.dataflow.steps.score import LINEAGE
from streamserve.errors import PlanError
from streamserve.inference.manifest import (
    BinaryOutput,
    ClassificationOutput,
    CustomOutput,
    Manifest,
    RegressionOutput,
)
from streamserve.inference.signature import check_signature, shown

__all__ = ["problems"]

_OR_BUILD = "or build the result: output=lambda event, prediction: ..."


def problems(known: Known) -> Iterator[Problem]:
    """Yield what is wrong with each agent that ``app.score`` made."""
    for agent in known.plan.agents:
        if agent.kind != "score" or agent.model is None or agent.model not in known.manifests:
            continue
        manifest = known.manifests[agent.model]
        yield from _inputs(known, agent, manifest)
        if agent.function is None:
            yield from _outputs(known, agent, manifest)


def _inputs(known: Known, agent: AgentNode, manifest: Manifest) -> Iterator[Problem]:
    """Hold the signature against what the agent reads, unless ``inputs=`` said the same and was checked."""
    topic = agent.sources[0]
    event, features = known.event_fields(topic), _features(known, agent)
    if features is None:
        return
    for spec in manifest.inputs:
        if spec.name in event and spec.name in features:
            what = f"input {spec.name!r} is in the event and in features {agent.features!r}; the feature is taken"
            yield Problem(f"agent {agent.name!r}", what, "rename one of them")
    declared = known.plan.models[manifest.name].inputs
    if set(declared) == {known.plan.topics[topic].value_type, agent.features} - {None}:
        return
    for what in check_signature(manifest.inputs, {**event, **features}):
        yield Problem(f"agent {agent.name!r}", what, "read a topic, or join features, that have it")


def _features(known: Known, agent: AgentNode) -> Mapping[str, Any] | None:
    if agent.features is None:
        return {}
    service = known.services.get(agent.features)
    return None if service is None else service.features


def _outputs(known: Known, agent: AgentNode, manifest: Manifest) -> Iterator[Problem]:
    where = f"agent {agent.name!r}"
    if agent.to is None:
        yield Problem(where, "has no output topic", "name one: app.score(..., to=topic)")
        return
    result = known.plan.topics[agent.to]
    try:
        row_encoder(codec_of(result))
    except PlanError as error:
        yield Problem(where, f"topic {agent.to!r}: {error}", "or build the result yourself: output=...")
        return
    sources = {
        "the prediction": _answers(manifest),
        "its lineage": _lineage(manifest),
        "the event": _event(known, agent),
    }
    for field, declared in known.event_fields(agent.to).items():
        found = {source: fields[field] for source, fields in sources.items() if field in fields}
        yield from _found_once(where, field, found, manifest.output.fields)
        if result.value_type is not None and found:
            source, offered = next(iter(found.items()))
            if wrong := refused(result.value_type, field, offered):
                what = f"output field {field!r} is {shown(declared)}, and {source} gives {', '.join(wrong)}"
                yield Problem(where, what, f"let its type take that, {_OR_BUILD}")


def _event(known: Known, agent: AgentNode) -> Mapping[str, Given]:
    """Return what an event holds; a field ``event_time`` that is the topic's own event time counts as lineage."""
    topic = agent.sources[0]
    own = {"event_time"} if known.plan.topics[topic].event_time == "event_time" else set[str]()
    return {name: given(annotation) for name, annotation in known.event_fields(topic).items() if name not in own}


def _answers(manifest: Manifest) -> Mapping[str, Given]:
    """Return what a prediction holds; of what kind a custom answer is, only the model itself knows."""
    match manifest.output:
        case BinaryOutput():
            return {"label": given(bool), "probability": given(float)}
        case ClassificationOutput(classes=classes):
            return {"label": exactly(*classes), "probabilities": given(dict[str, float])}
        case RegressionOutput():
            return {"value": given(float)}
        case CustomOutput():
            return dict.fromkeys(manifest.output.fields, given(Any))


def _lineage(manifest: Manifest) -> Mapping[str, Given]:
    known = {"model": exactly(manifest.name), "version": exactly(manifest.version), "role": exactly("champion")}
    types = {"event_time": datetime, "source_partition": int, "source_offset": int}
    return {name: known.get(name) or given(types.get(name, str)) for name in LINEAGE}


def _found_once(where: str, field: str, sources: Collection[str], answers: Collection[str]) -> Iterator[Problem]:
    """Say where ``field`` is filled from nothing, or from one of several ``sources``: the first is taken."""
    if not sources:
        what = f"output field {field!r} is in none of the prediction ({', '.join(answers)}), its lineage and the event"
        yield Problem(where, what, f"remove or rename the field, {_OR_BUILD}")
    elif len(sources) > 1:
        what = f"output field {field!r} is in {' and in '.join(sources)}; {next(iter(sources))} is taken"
        yield Problem(where, what, f"rename one of them, {_OR_BUILD}")
