"""A prepared join answers what Feast's own call answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamserve.features.feast import FeastReader
from streamserve.features.feast.connection import FeastService
from streamserve.features.service import JoinOptions
from streamserve.records import to_epoch_ms
from tests.unit.features import feast_repo
from tests.unit.features.feast_repo import NOON, expected, write

UNBOUNDED = JoinOptions(max_age={"origin_weather": None}, cache_max_age=timedelta(0))
LATER = to_epoch_ms(NOON + timedelta(days=1))

ORIGINS = st.sampled_from(["JFK", "LGA", "EWR", "", "Ö🛫"])
CARRIERS = st.sampled_from(["AA", "UA", "B6"])
WEATHER = st.fixed_dictionaries(
    {
        "origin": ORIGINS,
        "wind": st.none() | st.floats(width=32, allow_nan=False),
        "sky": st.none() | st.text(max_size=5),
        "gusts": st.integers(-(2**60), 2**60),
    }
)
ROUTE = st.fixed_dictionaries(
    {
        "carrier": CARRIERS,
        "origin": ORIGINS,
        "late_share": st.none() | st.floats(allow_nan=False),
        "flights": st.integers(-(2**60), 2**60),
    }
)
ASKED = st.lists(st.tuples(ORIGINS, CARRIERS), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weather=st.lists(WEATHER, max_size=4), routes=st.lists(ROUTE, max_size=6), asked=ASKED)
def test_several_views_with_single_composite_and_no_keys_answer_as_feast_does(
    repo: Path, weather: list[dict[str, Any]], routes: list[dict[str, Any]], asked: list[tuple[str, str]]
) -> None:
    for view, rows in (("origin_weather", weather), ("route", routes)):
        if rows:
            write(repo, view, [row | {"event_timestamp": NOON} for row in rows])
    write(repo, "overall", [{"__dummy_id": "", "mean_delay": float(len(asked)), "event_timestamp": NOON}])
    keys = {"origin": [origin for origin, _ in asked], "carrier": [carrier for _, carrier in asked]}
    batch = FeastReader(repo, "delay_v1", options=UNBOUNDED).read(keys, [LATER] * len(asked))
    assert batch.columns == expected(repo, "delay_v1", keys)


INSTANTS = st.integers(to_epoch_ms(NOON) // -1000, 2 * to_epoch_ms(NOON) // 1000).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "text": st.text(max_size=8),
    "flag": st.booleans(),
    "blob": st.binary(max_size=8),
    "instant": INSTANTS,
    "zoned": st.builds(datetime.astimezone, INSTANTS, st.sampled_from([UTC, timezone(timedelta(hours=-5))])),
    "uuid": st.uuids(),
    "amount": st.decimals(allow_nan=False, allow_infinity=False),
    "document": st.sampled_from(['{"a": [1, 2.5, null]}', '"text"']),
    "int64s": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    "float32s": st.lists(st.floats(width=32, allow_nan=False), max_size=3),
    "texts": st.lists(st.text(max_size=3), max_size=3),
    "flags": st.lists(st.booleans(), max_size=3),
    "instants": st.lists(INSTANTS, max_size=3),
    "distinct": st.sets(st.integers(0, 9), max_size=3),
    "mapping": st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}))
def test_every_value_type_and_null_answers_as_feast_does(repo: Path, row: dict[str, Any]) -> None:
    table = FeastService(repo, "things_v1").table("things")
    table.write(table.encode([row | {"thing_id": 7, "event_timestamp": NOON}]))
    reader = FeastReader(repo, "things_v1")
    keys = {"thing_id": [7, 8, 7]}
    assert reader.read(keys, [LATER] * 3).columns == expected(repo, "things_v1", keys)


def test_types_of_features_are_those_of_their_values(repo: Path) -> None:
    reader = FeastReader(repo, "things_v1")
    assert {name: reader.features[name] for name in ("int32", "float32", "text", "flag", "blob", "instant")} == {
        "int32": int,
        "float32": float,
        "text": str,
        "flag": bool,
        "blob": bytes,
        "instant": datetime,
    }
    assert (reader.features["uuid"], reader.features["amount"], reader.features["int64s"]) == (UUID, Decimal, list)


def test_one_view_under_two_names_is_read_by_each_names_own_key(repo: Path) -> None:
    rows = [{"origin": name, "wind": wind, "sky": "clear", "gusts": 1} for name, wind in (("JFK", 3.5), ("LGA", 7.0))]
    write(repo, "origin_weather", [row | {"event_timestamp": NOON} for row in rows])
    reader = FeastReader(repo, "ends_v1", options=JoinOptions(full_feature_names=True))
    keys: dict[str, list[Any]] = {"start": ["JFK", "LGA", "JFK"], "end": ["LGA", "EWR", "JFK"]}
    batch = reader.read(keys, [to_epoch_ms(NOON)] * 3)
    assert batch.columns == expected(repo, "ends_v1", keys, full_names=True)
    assert batch.columns["end_weather__wind"] == [7.0, None, 3.5]


def test_on_demand_features_are_feasts_own_beside_stored_ones(repo: Path) -> None:
    write(repo, "origin_weather", [{"origin": "JFK", "wind": 2.0, "sky": "", "gusts": 1, "event_timestamp": NOON}])
    write(repo, "route", [{"carrier": "AA", "origin": "LGA", "late_share": 0.5, "flights": 3, "event_timestamp": NOON}])
    reader = FeastReader(repo, "crosswind_v1", options=UNBOUNDED)
    keys: dict[str, list[Any]] = {"origin": ["JFK", "LGA"], "carrier": ["AA", "AA"], "angle": [0.25, 0.5]}
    batch = reader.read(keys, [LATER] * 2)
    assert batch.columns == expected(repo, "crosswind_v1", keys)
    assert batch.columns["crosswind"] == [0.5, None]
    assert batch.row(1).status == {"late_share": "present", "flights": "present", "crosswind": "null"}


def test_the_sample_repository_is_the_one_described() -> None:
    assert set(VALUES) == set(feast_repo.SCALAR_TYPES | feast_repo.NESTED_TYPES)
