"""A feature service on Feast's online store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feast.value_type import ValueType

from streamserve.features.base import FeatureStatus
from streamserve.features.feast.on_demand import OnDemandFeatures
from streamserve.features.feast.online import FeastTable
from streamserve.features.feast.repository import find_view, resolve
from streamserve.features.service import ServiceDescription


class FeastService:
    """An ``OnlineService`` of a Feast repository.

    Raises:
        PlanError: there is no such repository or service, or it cannot be joined.
        OutageError: a remote registry does not answer.
    """

    def __init__(self, feature_repo: str | Path, service: str, *, full_feature_names: bool = False) -> None:
        self._resolved = resolve(feature_repo, service, full_feature_names=full_feature_names)
        self._on_demand = OnDemandFeatures(self._resolved, full_feature_names)

    @property
    def description(self) -> ServiceDescription:
        """Return what the service needs and gives."""
        return self._resolved.description

    def table(self, name: str) -> FeastTable:
        """Return the stored view ``name``, of the service or fed by a push source."""
        view = self._resolved.tables.get(name) or find_view(self._resolved.store, name)
        features = self._features(name, [field.name for field in view.features])
        return FeastTable(self._resolved.store, view, features, self._key_types(name))

    def compute(
        self, given: Mapping[str, Sequence[Any]], refused: Sequence[FeatureStatus | None]
    ) -> tuple[dict[str, Sequence[Any]], dict[str, Sequence[FeatureStatus]]]:
        """Return the on-demand features; see ``OnDemandFeatures``."""
        return self._on_demand.compute(given, refused)

    def close(self) -> None:
        """Do nothing: the clients of Feast's stores close when they are no longer referred to."""

    def _features(self, table: str, held: Sequence[str]) -> list[str]:
        """Return what is read of a table, in its order: what the service takes, or all if it is pushed to.

        Of a view that only feeds on-demand views all is read too: its time is what is wanted.
        """
        if any(table in fed for fed in self.description.push_sources.values()):
            return list(held)
        taken = {name for view in self.description.views if view.table == table for name in view.features}
        return [name for name in held if name in taken or not taken]

    def _key_types(self, table: str) -> dict[str, ValueType]:
        return {
            stored: self._resolved.key_types[asked]
            for view in self.description.views
            if view.table == table
            for stored, asked in view.keys.items()
        }
