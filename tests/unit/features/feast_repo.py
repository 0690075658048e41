"""A small Feast repository for tests: every shape of view that a feature service can hold, on a SQLite store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    PushSource,
    RequestSource,
    ValueType,
)
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

from tests.feature_store import history, new_store

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
"""The time of the rows that the repository starts with."""

SCALAR_TYPES: dict[str, FeastType] = {
    "int32": Int32,
    "int64": Int64,
    "float32": Float32,
    "float64": Float64,
    "text": String,
    "flag": Bool,
    "blob": Bytes,
    "instant": UnixTimestamp,
    "zoned": ZonedTimestamp,
    "uuid": Uuid,
    "amount": Decimal,
    "document": Json,
}
NESTED_TYPES: dict[str, FeastType] = {
    "int64s": Array(Int64),
    "float32s": Array(Float32),
    "texts": Array(String),
    "flags": Array(Bool),
    "instants": Array(UnixTimestamp),
    "distinct": Set(Int64),
    "mapping": Map,
}


def build(path: Path) -> None:
    """Write the configuration, apply the definitions and leave every view empty."""
    new_store(path, "flights").apply(_definitions(path))


def write(path: Path, view: str, rows: list[dict[str, Any]]) -> None:
    """Write ``rows`` (with their ``event_timestamp``) into the online store by Feast's own call."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    FeatureStore(repo_path=str(path)).write_to_online_store(view, inputs=columns)


def expected(path: Path, service: str, keys: dict[str, list[Any]], *, full_names: bool = False) -> dict[str, list[Any]]:
    """Return what Feast's own call answers, without the keys."""
    store = FeatureStore(repo_path=str(path))
    answer = store.get_online_features(
        store.get_feature_service(service), entity_rows=keys, full_feature_names=full_names
    ).to_dict()
    return {name: column for name, column in answer.items() if name not in keys}


def _definitions(path: Path) -> list[Any]:
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING)
    thing = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.INT64)
    weather_push = PushSource(name="weather", batch_source=history(path, "weather_history"))
    weather: Any = FeatureView(
        name="origin_weather",
        entities=[origin],
        ttl=timedelta(hours=2),
        schema=[Field(name="wind", dtype=Float32), Field(name="sky", dtype=String), Field(name="gusts", dtype=Int64)],
        source=weather_push,
    )
    route = FeatureView(
        name="route",
        entities=[carrier, origin],
        schema=[Field(name="late_share", dtype=Float64), Field(name="flights", dtype=Int64)],
        source=history(path, "route_history"),
    )
    overall = FeatureView(
        name="overall",
        entities=[],
        schema=[Field(name="mean_delay", dtype=Float64)],
        source=history(path, "overall_history"),
    )
    things = FeatureView(
        name="things",
        entities=[thing],
        schema=[Field(name=name, dtype=dtype) for name, dtype in (SCALAR_TYPES | NESTED_TYPES).items()],
        source=history(path, "thing_history"),
    )
    crosswind = _crosswind(weather)
    return [
        origin,
        carrier,
        thing,
        weather,
        route,
        overall,
        things,
        crosswind,
        FeatureService(name="delay_v1", features=[weather, route, overall]),
        FeatureService(name="wind_v1", features=[weather[["wind"]]]),
        FeatureService(name="things_v1", features=[things]),
        FeatureService(
            name="ends_v1",
            features=[
                weather.with_name("start_weather").with_join_key_map({"origin": "start"}),
                weather.with_name("end_weather").with_join_key_map({"origin": "end"}),
            ],
        ),
        FeatureService(name="crosswind_v1", features=[route, crosswind]),
    ]


def _crosswind(weather: FeatureView) -> OnDemandFeatureView:
    request = RequestSource(name="runway", schema=[Field(name="angle", dtype=Float64)])

    @on_demand_feature_view(sources=[weather, request], schema=[Field(name="crosswind", dtype=Float64)], mode="python")
    def crosswind(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(inputs["wind"], inputs["angle"], strict=True)
        return {"crosswind": [None if wind is None else wind * angle for wind, angle in pairs]}

    return crosswind
