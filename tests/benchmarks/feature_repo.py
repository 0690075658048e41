"""A Feast repository with the workload's features in a SQLite online store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.workload import FEATURES, SERVICE, USERS, feature_matrix
from tests.feature_store import history, new_store

_WRITTEN_AT = datetime(2024, 1, 1, tzinfo=UTC)


def build(repo: Path) -> None:
    """Write, apply and fill the repository in the new folder ``repo``."""
    store = new_store(repo, "bench")
    store.apply(_definitions(repo))
    columns = {name: column.tolist() for name, column in zip(FEATURES, feature_matrix().T, strict=True)}
    rows = {"user": list(range(USERS)), **columns, "event_timestamp": [_WRITTEN_AT] * USERS}
    store.write_to_online_store(SERVICE, inputs=rows)


def _definitions(repo: Path) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.types import Float32, Int64

    user = Entity(name="user", join_keys=["user"], value_type=ValueType.INT64)
    view = FeatureView(
        name=SERVICE,
        entities=[user],
        ttl=timedelta(0),  # never too old
        schema=[Field(name="user", dtype=Int64), *(Field(name=name, dtype=Float32) for name in FEATURES)],
        source=history(repo, "history"),
    )
    return [user, view, FeatureService(name=SERVICE, features=[view])]
