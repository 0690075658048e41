"""What a plan only names: feature services and model packages, looked up once for all checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamserve.aggregates import Kind
from streamserve.codecs.json import codec_for
from streamserve.dataflow.checks.problem import Problem
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import registry_of
from streamserve.errors import PlanError, StreamserveError
from streamserve.features.service import ServiceDescription
from streamserve.inference.manifest import Manifest
from streamserve.settings import Settings

__all__ = ["Known", "fields_of", "look_up"]

_FEATURES_REMEDY = "correct app.features(...) or the repository; `feast apply` in it makes changes known"
_MODELS_REMEDY = "correct app.model(...) or the registry"


@dataclass(frozen=True, slots=True)
class Known:
    """A plan, and what could be learnt of its feature services and models, by name."""

    plan: Plan
    services: Mapping[str, ServiceDescription]
    manifests: Mapping[str, Manifest]

    def event_fields(self, topic: str) -> Mapping[str, Any]:
        """Return the fields of the events of ``topic``."""
        return fields_of(self.plan.topics[topic].value_type)


def fields_of(value_type: object) -> Mapping[str, Any]:
    """Return the fields of an event's type with their annotations; none for bytes, plain JSON and unusable types.

    >>> from streamserve.records import Regression
    >>> dict(fields_of(Regression)), dict(fields_of(dict[str, int]))
    ({'value': <class 'float'>}, {})
    """
    if not isinstance(value_type, type):
        return {}
    try:
        return codec_for(value_type).fields
    except PlanError:
        return {}


def look_up(plan: Plan, settings: Settings) -> tuple[Known, list[Problem]]:
    """Return what can be learnt of ``plan``, and a problem for each name that says nothing."""
    problems: list[Problem] = []
    services: dict[str, ServiceDescription] = {}
    manifests: dict[str, Manifest] = {}
    for name in plan.features:
        try:
            services[name] = _with_windows(plan, _describe(name, settings))
        except StreamserveError as error:
            problems.append(Problem(f"features {name!r}", str(error), _FEATURES_REMEDY))
    for name in plan.models:
        try:
            manifests[name] = _manifest(plan, name, settings)
        except StreamserveError as error:
            problems.append(Problem(f"model {name!r}", str(error), _MODELS_REMEDY))
    return Known(plan, services, manifests), problems


def _describe(service: str, settings: Settings) -> ServiceDescription:
    if settings.feature_repo is None:
        raise PlanError("no feature repository is named: App(..., feature_repo=...) or STREAMSERVE_FEATURE_REPO")
    from streamserve.features.feast import describe, describe_definitions, is_applied

    look_up_service = describe if is_applied(settings.feature_repo) else describe_definitions
    return look_up_service(settings.feature_repo, service)


def _with_windows(plan: Plan, service: ServiceDescription) -> ServiceDescription:
    """Return ``service`` with the windows of the app that join its rows.

    Raises:
        PlanError: the service has a feature of such a name itself.
    """
    windows = plan.features[service.service].windows
    if taken := windows.keys() & service.features.keys():
        raise PlanError(f"windows= gives {sorted(taken)}, which the feature service has itself: name them differently")
    types = {name: _type_of(plan.windows[window].aggregate.kind) for name, window in windows.items()}
    return replace(service, features={**service.features, **types})


def _type_of(aggregate: Kind) -> type:
    return int if aggregate in ("count", "distinct") else float


def _manifest(plan: Plan, name: str, settings: Settings) -> Manifest:
    registry, node = registry_of(settings), plan.models[name]
    return registry.load(name, registry.resolve(name, alias=node.alias, version=node.version)).manifest
