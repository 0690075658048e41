"""``app.score``: whether its model's inputs and its output's fields are each found in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.checks.known import Known
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.runtime import codec_of
from streamserve.dataflow.steps.score import LINEAGE
from streamserve.errors import PlanError
from streamserve.inference.manifest import Manifest
from streamserve.inference.signature import check_signature

__all__ = ["problems"]


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
    try:
        row_encoder(codec_of(known.plan.topics[agent.to]))
    except PlanError as error:
        yield Problem(where, f"topic {agent.to!r}: {error}", "or build the result yourself: output=...")
        return
    own_time = known.plan.topics[agent.sources[0]].event_time
    event = known.event_fields(agent.sources[0]).keys() - ({"event_time"} if own_time == "event_time" else set())
    for field in known.event_fields(agent.to):
        yield from _filled(where, field, manifest.output.fields, event)


def _filled(where: str, field: str, answers: Collection[str], event: Collection[str]) -> Iterator[Problem]:
    """Say where ``field`` is filled from nothing, or from one of several places: the first named is taken."""
    places = {"the prediction": answers, "its lineage": LINEAGE, "the event": event}
    holding = [place for place, names in places.items() if field in names]
    if not holding:
        what = f"output field {field!r} is in none of the prediction ({', '.join(answers)}), its lineage and the event"
        yield Problem(
            where, what, "remove or rename the field, or build the result: output=lambda event, prediction: ..."
        )
    elif len(holding) > 1:
        what = f"output field {field!r} is in {' and in '.join(holding)}; {holding[0]} is taken"
        yield Problem(where, what, "rename one of them, or build the result: output=lambda event, prediction: ...")
