"""Opens a Feast repository and resolves a feature service in it, without touching the online store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from feast import FeatureService, FeatureStore, FeatureView, PushSource
from feast.errors import FeatureViewNotFoundException
from feast.feature_view import DUMMY_ENTITY_ID
from feast.feature_view_projection import FeatureViewProjection
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.value_type import ValueType

from streamserve.errors import OutageError, PlanError, StreamserveError
from streamserve.features.service import ServiceDescription, ViewDescription

_PYTHON_TYPES: dict[str, type] = {
    "INT32": int,
    "INT64": int,
    "FLOAT": float,
    "DOUBLE": float,
    "STRING": str,
    "BOOL": bool,
    "BYTES": bytes,
    "UNIX_TIMESTAMP": datetime,
    "ZONED_TIMESTAMP": datetime,
    "DECIMAL": Decimal,
    "UUID": UUID,
    "TIME_UUID": UUID,
    "MAP": dict,
    "SCALAR_MAP": dict,
    "STRUCT": dict,
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A service with Feast's own objects: ``tables`` are the stored views behind it, by name, columns included."""

    store: FeatureStore
    service: FeatureService
    description: ServiceDescription
    tables: dict[str, FeatureView]
    key_types: dict[str, ValueType]


def resolve(feature_repo: str | Path, service: str, *, full_feature_names: bool = False) -> Resolved:
    """Open the repository at ``feature_repo`` and look up everything that reading ``service`` needs.

    Raises:
        PlanError: there is no such repository or service, a view of it is missing or cannot be joined.
        OutageError: a remote registry does not answer.
    """
    with registry_errors(feature_repo, service):
        return resolve_in(_open(Path(feature_repo)), feature_repo, service, full_feature_names=full_feature_names)


def resolve_in(
    store: FeatureStore, feature_repo: str | Path, service: str, *, full_feature_names: bool = False
) -> Resolved:
    """Look up ``service`` in an opened store; inside ``registry_errors``."""
    return _Resolution(store, _find(store, feature_repo, service), full_names=full_feature_names).result()


@contextmanager
def registry_errors(feature_repo: str | Path, service: str) -> Generator[None]:
    """Translate what Feast raises while definitions are read."""
    try:
        yield
    except StreamserveError:
        raise
    except (ConnectionError, TimeoutError) as error:
        raise OutageError(f"the registry of Feast repository {str(feature_repo)!r} does not answer") from error
    except Exception as error:
        # Feast's own text may quote the configuration, passwords included: it stays in the chained cause.
        raise PlanError(
            f"feature service {service!r} of Feast repository {str(feature_repo)!r} cannot be resolved "
            f"({type(error).__name__}): mend the repository, `feast apply` in it says what is wrong"
        ) from error


def _open(feature_repo: Path) -> FeatureStore:
    if not (feature_repo / "feature_store.yaml").is_file():
        raise PlanError(f"no feature_store.yaml in {str(feature_repo)!r}: set feature_repo to a Feast repository")
    store = FeatureStore(repo_path=str(feature_repo))
    registry = store.config.registry
    if registry is None or registry.registry_type != "file" or "://" in registry.path:
        return store
    # Feast would write an empty registry in its place.
    if not (feature_repo / registry.path).exists():
        raise PlanError(f"the Feast repository {str(feature_repo)!r} has no registry yet: run `feast apply` in it")
    return store


def _find(store: FeatureStore, feature_repo: str | Path, name: str) -> FeatureService:
    services = {service.name: service for service in store.list_feature_services()}
    if name not in services:
        known = ", ".join(sorted(services)) or "none"
        raise PlanError(
            f"no feature service {name!r} in Feast repository {str(feature_repo)!r} (known: {known}): correct the "
            "name, or define the service and run `feast apply`"
        )
    return services[name]


class _Resolution:
    """Walks the projections of one service."""

    def __init__(self, store: FeatureStore, service: FeatureService, *, full_names: bool) -> None:
        self._store = store
        self._service = service
        self._full_names = full_names
        self._views: dict[str, ViewDescription] = {}
        self._tables: dict[str, FeatureView] = {}
        self._types: dict[str, type] = {}
        self._key_types: dict[str, ValueType] = {}
        self._request_fields: dict[str, None] = {}
        self._names: list[str] = []
        self._on_demand: list[str] = []

    def result(self) -> Resolved:
        for projection in self._service.feature_view_projections:
            self._add(projection)
        self._check_names()
        join_keys = dict.fromkeys(key for view in self._views.values() for key in view.keys.values())
        if self._on_demand and not (join_keys or self._request_fields):
            raise PlanError(
                f"feature service {self._service.name!r} has on-demand features and neither join keys nor request "
                "fields: Feast cannot be asked for it, give a view an entity"
            )
        description = ServiceDescription(
            service=self._service.name,
            join_keys=tuple(join_keys),
            request_fields=tuple(self._request_fields),
            features=self._types,
            views=tuple(self._views.values()),
            on_demand=tuple(self._on_demand),
            push_sources=push_sources(self._store),
        )
        return Resolved(self._store, self._service, description, self._tables, self._key_types)

    def _add(self, projection: FeatureViewProjection) -> None:
        if projection.version_tag is not None:
            raise PlanError(
                f"feature service {self._service.name!r} pins version {projection.version_tag} of view "
                f"{projection.name!r}: pinned versions are not joined, give the version a view of its own"
            )
        view = find_view(self._store, projection.name)
        names = {feature.name: self._answered(projection, feature.name) for feature in projection.features}
        for feature in projection.features:
            self._types[names[feature.name]] = python_type(feature.dtype.to_value_type())
        self._names.extend(names.values())
        if isinstance(view, OnDemandFeatureView):
            self._on_demand.extend(names.values())
            self._add_inputs(view)
        else:
            self._add_stored(view, projection, names)

    def _add_inputs(self, view: OnDemandFeatureView) -> None:
        """Add what an on-demand view reads: the fields of the event, and views that answer nothing themselves."""
        if not view.write_to_online_store:
            self._request_fields.update(dict.fromkeys(view.get_request_data_schema()))
        for projection in view.source_feature_view_projections.values():
            if projection.name_to_use() not in self._views:
                self._add_stored(find_view(self._store, projection.name), projection, {})

    def _add_stored(self, view: FeatureView, projection: FeatureViewProjection, names: dict[str, str]) -> None:
        stored = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
        keys = {key: projection.join_key_map.get(key, key) for key in stored if key != DUMMY_ENTITY_ID}
        # As in Feast, the last view decides on the type of a key that several name.
        self._key_types.update({asked: stored[key] for key, asked in keys.items()})
        self._tables[view.name] = view
        name = projection.name_to_use()
        earlier = self._views[name].features if name in self._views else dict[str, str]()
        self._views[name] = ViewDescription(
            name=name, table=view.name, keys=keys, features={**earlier, **names}, ttl=_ttl(view)
        )

    def _answered(self, projection: FeatureViewProjection, feature: str) -> str:
        return f"{projection.name_to_use()}__{feature}" if self._full_names else feature

    def _check_names(self) -> None:
        twice = sorted(name for name, times in Counter(self._names).items() if times > 1)
        if twice:
            raise PlanError(
                f"feature service {self._service.name!r} has several features of the name(s) {', '.join(twice)}: give "
                "the views different names and ask for full feature names, or leave all but one out of the service"
            )


def find_view(store: FeatureStore, name: str) -> Any:
    """Return the view ``name`` of any kind; raise ``PlanError`` if it is missing or switched off."""
    try:
        view: Any = store.registry.get_any_feature_view(name, store.project, allow_cache=True)
    except FeatureViewNotFoundException as error:
        raise PlanError(f"feature view {name!r} is missing: define it and run `feast apply`") from error
    if not getattr(view, "enabled", True):
        raise PlanError(f"feature view {name!r} is switched off: run `feast feature-views enable {name}`")
    return view


def push_sources(store: FeatureStore) -> dict[str, tuple[str, ...]]:
    """Return the push sources of the repository, each with the names of the views that it feeds."""
    views: Sequence[FeatureView] = [*store.list_feature_views(), *store.list_stream_feature_views()]
    fed: dict[str, list[str]] = {}
    for view in views:
        if isinstance(view.stream_source, PushSource):
            fed.setdefault(view.stream_source.name, []).append(view.name)
    return {source: tuple(dict.fromkeys(names)) for source, names in fed.items()}


def python_type(value_type: ValueType) -> type:
    """Return the type of the values that Feast answers for ``value_type``; ``object`` where it may be several."""
    name = value_type.name
    if name.endswith("_LIST"):
        return list
    return set if name.endswith("_SET") else _PYTHON_TYPES.get(name, object)


def _ttl(view: FeatureView) -> timedelta | None:
    """Return the view's time to live; Feast says zero where there is none."""
    return view.ttl or None
