"""Plain functions in the place of feature services and models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import signature
from types import NoneType
from typing import Any, TypeAlias, cast, get_args, get_type_hints

from streamserve.codecs.json import codec_for
from streamserve.dataflow.planning.nodes import FeaturesNode, ModelNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import OpenReader, registry_of
from streamserve.errors import ConfigurationError, EngineRestart, FeatureRowError, ModelRowError, OutageError, PlanError
from streamserve.features.base import FeatureBatch, FeatureStatus
from streamserve.inference.runner import Runner, Scores, TakesEverything
from streamserve.records import Scalar
from streamserve.settings import Settings

FeatureFunction: TypeAlias = Callable[[Mapping[str, Scalar]], Mapping[str, Scalar] | None]
"""Gives the feature row of an event, from the event's fields by name; ``None``: there is no such entity."""

ModelFunction: TypeAlias = Callable[[Mapping[str, Scalar]], Any]
"""Gives a model's answer, as its output type or a mapping of its fields, for everything it is given by name."""

VERSION = "function"
"""What predictions of a function tell as the model's version."""

_SCALARS = (str, int, float, bool)
_PASSED_ON = (ConfigurationError, EngineRestart, OutageError)


class FunctionReader:
    """A ``FeatureReader`` that asks a function for each row.

    The function is given the event's fields, renamed ones under their join key. The features' names are those of the
    declared row type and of ``also``, and whatever else the rows have; one that a row lacks is not found, one of
    ``None`` is null. Rows are of no age, and what is pushed is dropped: the function knows its rows. What the function
    raises is the event's fault, but for outages and configuration errors.
    """

    def __init__(self, node: FeaturesNode, function: FeatureFunction, also: Iterable[str] = ()) -> None:
        renamed = set(node.entity_row.values())
        fields = [name for name in codec_for(node.event).fields if name not in renamed]
        declared = get_type_hints(node.row_type) if node.row_type is not None else {}
        self.service = node.service
        self.join_keys = (*node.entity_row, *fields)
        self.request_fields: tuple[str, ...] = ()
        self.features: Mapping[str, type] = {**dict.fromkeys(also, object), **declared}
        self._function = function

    def read(self, keys: Mapping[str, Sequence[Scalar]], event_times_ms: Sequence[int] | None) -> FeatureBatch:
        """Ask for each event; see ``FeatureReader.read``."""
        del event_times_ms
        events = [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
        rows = [self._row(event) for event in events]
        for row in rows:
            self.features = {**self.features, **dict.fromkeys(row.keys() - self.features.keys(), object)}
        columns = {name: [row.get(name) for row in rows] for name in self.features}
        status: dict[str, list[FeatureStatus]] = {name: [_status(row, name) for row in rows] for name in self.features}
        return FeatureBatch(len(rows), columns, status, [0] * len(rows))

    def _row(self, event: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        try:
            return self._function(event) or {}
        except (FeatureRowError, *_PASSED_ON):
            raise
        except Exception as raised:
            text = f"features {self.service!r}: the function raised {type(raised).__name__}"
            raise FeatureRowError(text) from raised

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Drop ``rows``: the function knows its own."""

    def flush_pushes(self) -> None:
        """Do nothing: pushes are dropped."""

    def close(self) -> None:
        """Do nothing: there are no connections."""


def _status(row: Mapping[str, Scalar], name: str) -> FeatureStatus:
    if name not in row:
        return "not-found"
    return "null" if row[name] is None else "present"


class FunctionRunner(TakesEverything):
    """A ``Runner`` that asks a function for each row.

    ``inputs`` are what the declared event types and feature rows have of plain values, and what the model's monitor
    names: what it can watch.
    ``outputs`` are the fields of the declared output. What the function raises is the row's fault, but for outages and
    configuration errors.
    """

    def __init__(self, node: ModelNode, inputs: Mapping[str, type], function: ModelFunction) -> None:
        self.name = node.name
        self.version = VERSION
        self.sha256 = ""
        self.batch_size = 4096
        self.inputs = inputs
        hints = get_type_hints(node.output)
        self.outputs: Mapping[str, Any] = {name: hints.get(name, object) for name in signature(node.output).parameters}
        self._function = function

    def predict(self, columns: Mapping[str, Sequence[Any]], size: int) -> Scores:
        """Ask for each row; see ``Runner.predict``."""
        answers: dict[str, list[Any]] = {name: [] for name in self.outputs}
        errors: dict[int, ModelRowError] = {}
        for index in range(size):
            fields: Mapping[str, Any] = {}
            try:
                fields = self._answer({name: column[index] for name, column in columns.items()})
            except ModelRowError as error:
                errors[index] = error
            for name, column in answers.items():
                column.append(fields.get(name))
        return Scores(answers, errors)

    def _answer(self, row: Mapping[str, Scalar]) -> Mapping[str, Any]:
        try:
            answer = self._function(row)
            if isinstance(answer, Mapping):
                return dict(cast("Mapping[str, Any]", answer))
            return {name: getattr(answer, name) for name in self.outputs}
        except (ModelRowError, *_PASSED_ON):
            raise
        except Exception as raised:
            text = f"model {self.name!r}: the function raised {type(raised).__name__}"
            raise ModelRowError(text) from raised


def function_features(
    plan: Plan, functions: Mapping[str, FeatureFunction], settings: Settings, *, without: Collection[str]
) -> dict[str, OpenReader]:
    """Return what opens readers for ``functions``, by the plan's services.

    Their features are also what models ask of them in ``app.score``: their inputs; of models ``without`` a package,
    what is monitored.

    Raises:
        PlanError: the plan has no such service.
    """
    _check_names("features", functions, plan.features)

    def opens(node: FeaturesNode, function: FeatureFunction) -> OpenReader:
        asked: set[str] = set()
        for agent in plan.agents:
            if agent.features == node.service and agent.model is not None:
                model = plan.models[agent.model]
                asked |= _monitored(plan, model) if model.name in without else _inputs_of(model, settings)
        also = sorted(asked - codec_for(node.event).fields.keys())
        return lambda: FunctionReader(node, function, also)

    return {name: opens(plan.features[name], function) for name, function in functions.items()}


def _inputs_of(node: ModelNode, settings: Settings) -> set[str]:
    """Return the names of the inputs of a model in the registry."""
    registry = registry_of(settings)
    package = registry.load(node.name, registry.resolve(node.name, alias=node.alias, version=node.version))
    return {spec.name for spec in package.manifest.inputs}


def _check_names(what: str, given: Iterable[str], declared: Mapping[str, object]) -> None:
    unknown = sorted(set(given) - declared.keys())
    if unknown:
        raise PlanError(f"the app declares no {what} {', '.join(unknown)}; there are {sorted(declared)}")


def function_models(plan: Plan, functions: Mapping[str, ModelFunction]) -> dict[str, Runner]:
    """Return runners for ``functions``, by the plan's models.

    Raises:
        PlanError: the plan has no such model.
    """
    _check_names("models", functions, plan.models)
    return {
        name: FunctionRunner(plan.models[name], _inputs(plan, plan.models[name]), function)
        for name, function in functions.items()
    }


def _inputs(plan: Plan, node: ModelNode) -> dict[str, type]:
    """Return the declared inputs of plain types; what a monitor names beyond them is taken for numbers."""
    declared: dict[str, Any] = dict.fromkeys(_monitored(plan, node), float)
    for given in node.inputs:
        if isinstance(given, type):
            declared |= codec_for(given).fields
        elif (row_type := plan.features[given].row_type) is not None:
            declared |= get_type_hints(row_type)
    plain = {name: _plain(kind) for name, kind in declared.items()}
    return {name: kind for name, kind in plain.items() if kind in _SCALARS}


def _monitored(plan: Plan, node: ModelNode) -> set[str]:
    """Return the columns that the model's monitor names, without those that the model answers."""
    monitor = plan.monitor_of(node.name)
    named = {*(monitor.columns or ()), *(monitor.detector_columns or ())} if monitor is not None else set[str]()
    return named - set(signature(node.output).parameters)


def _plain(kind: Any) -> Any:
    """Return the one type that ``kind`` is but for ``None``."""
    members = [member for member in get_args(kind) if member is not NoneType]
    return members[0] if len(members) == 1 and NoneType in get_args(kind) else kind
