"""Declares feature services, models and what watches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from typing_extensions import TypeVar

from streamserve.agents import Features, Model, Monitor
from streamserve.app.declared import Declares
from streamserve.dataflow.planning.nodes import FeaturesNode, ModelNode, MonitorNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError
from streamserve.features.base import FeatureRow
from streamserve.features.service import JoinOptions
from streamserve.tables import WindowedTable

if TYPE_CHECKING:
    from river import base

    Detector: TypeAlias = base.DriftDetector | base.BinaryDriftDetector

In = TypeVar("In")
R = TypeVar("R")
P = TypeVar("P")


class DeclaresModels(Declares):
    """``app.features``, ``app.model`` and ``app.monitor``."""

    @overload
    def features(
        self,
        service: str,
        *,
        event: type[In],
        row: type[R],
        entity_row: Mapping[str, str] = ...,
        max_age: Mapping[str, Duration | None] = ...,
        cached_for: Mapping[str, Duration] = ...,
        windows: Mapping[str, WindowedTable[Any, Any]] = ...,
        log: float = ...,
    ) -> Features[In, R]: ...
    @overload
    def features(
        self,
        service: str,
        *,
        event: type[In],
        entity_row: Mapping[str, str] = ...,
        max_age: Mapping[str, Duration | None] = ...,
        cached_for: Mapping[str, Duration] = ...,
        windows: Mapping[str, WindowedTable[Any, Any]] = ...,
        log: float = ...,
    ) -> Features[In, FeatureRow]: ...
    def features(
        self,
        service: str,
        *,
        event: type[Any],
        row: type[Any] | None = None,
        entity_row: Mapping[str, str] | None = None,
        max_age: Mapping[str, Duration | None] | None = None,
        cached_for: Mapping[str, Duration] | None = None,
        windows: Mapping[str, WindowedTable[Any, Any]] | None = None,
        log: float = 0.0,
    ) -> Features[Any, Any]:
        """Declare a Feast feature service of the app's feature repository, asked with the fields of ``event``.

        ``entity_row`` maps a join key to the event's field where their names differ. ``row`` gives rows a type of the
        user's, built by keyword. ``max_age`` bounds the age of a view's rows against the event's time (default: the
        view's ``ttl``; ``None``: no bound). ``cached_for`` is how long a view's rows may be answered without asking the
        online store again, in processing time (default: a second): what others write is seen that much later.
        ``windows`` adds the app's own windows as features, by the name that each has in the row: the aggregate of the
        event's key as of the event. ``log`` is the share of rows used (0 to 1) that are written to ``<app>-features``.
        """
        if not 0 <= log <= 1:
            raise PlanError(f"features {service!r}: log is a share between 0 and 1, not {log}")
        join = JoinOptions(
            max_age={view: None if age is None else _span(age) for view, age in (max_age or {}).items()},
            cache_max_ages={view: _span(age) for view, age in (cached_for or {}).items()},
        )
        names = {feature: window.name for feature, window in (windows or {}).items()}
        node = FeaturesNode(service, event, row, dict(entity_row or {}), log, join, names)
        if service in self._declared.features:
            raise PlanError(f"features {service!r} are declared twice")
        self._declared.features[service] = node
        return Features(node)

    def model(
        self,
        name: str,
        *,
        output: type[P],
        inputs: Sequence[type | Features[Any, Any]] = (),
        version: str | None = None,
        alias: str = "champion",
    ) -> Model[P]:
        """Declare a model of the app's registry: by alias, or pinned to ``version``.

        ``inputs`` are the event types and feature services whose fields it is given, so that ``streamserve check`` can
        hold the model's signature against them. ``output`` is ``Binary``, ``Classification``, ``Regression`` or a
        dataclass.
        """
        given = tuple(item.node.service if isinstance(item, Features) else item for item in inputs)
        node = ModelNode(name, output, given, version, alias)
        if name in self._declared.models:
            raise PlanError(f"model {name!r} is declared twice")
        self._declared.models[name] = node
        return Model(node)

    def monitor(
        self,
        model: Model[Any],
        *,
        detectors: Sequence[Detector],
        window: Duration,
        slices: Sequence[str] = (),
        columns: Sequence[str] | None = None,
        detector_columns: Sequence[str] | None = None,
    ) -> Monitor:
        """Emit statistics and drift alarms of a model's inputs and predictions to ``<app>-drift``.

        Statistics are per tumbling event-time ``window``, also split by the values of each column in ``slices``.
        ``columns`` limits what is monitored (default: every input and every output that is a number, a flag or a
        category). ``detectors`` are River detectors, cloned for each of ``detector_columns`` (default: every column
        that they fit).
        """
        node = MonitorNode(
            model.node.name,
            tuple(detectors),
            to_milliseconds(window),
            tuple(slices),
            tuple(columns) if columns is not None else None,
            tuple(detector_columns) if detector_columns is not None else None,
        )
        if node.model in self._declared.monitors:
            raise PlanError(f"model {node.model!r} has two monitors: put all detectors into one")
        self._declared.monitors[node.model] = node
        return Monitor(node)


def _span(duration: Duration) -> timedelta:
    return timedelta(milliseconds=to_milliseconds(duration))
