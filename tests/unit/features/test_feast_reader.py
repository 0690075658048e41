"""What a Feast reader adds to Feast: ages, pushes, clear errors."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from streamserve.errors import FeatureRowError, OutageError, PlanError
from streamserve.features.base import FeatureReader
from streamserve.features.feast import FeastReader, describe
from streamserve.features.service import JoinOptions
from streamserve.observer import Observer
from streamserve.records import to_epoch_ms
from tests.unit.features.feast_repo import NOON, expected, write

NOON_MS = to_epoch_ms(NOON)
MINUTE_MS = 60_000


def weather(origin: str, wind: float | None, *, minutes: float = 0) -> dict[str, Any]:
    return {
        "origin": origin,
        "wind": wind,
        "sky": "clear",
        "gusts": 1,
        "event_timestamp": NOON + timedelta(minutes=minutes),
    }


def winds(reader: FeastReader, *origins: str | None, at_ms: int = NOON_MS) -> list[Any]:
    return list(reader.read({"origin": list(origins)}, [at_ms] * len(origins)).columns["wind"])


def statuses(reader: FeastReader, origin: str | None, *, at_ms: int = NOON_MS) -> str:
    return reader.read({"origin": [origin]}, [at_ms]).row(0).status["wind"]


class Recorder(Observer):
    def __init__(self) -> None:
        self.reads: list[tuple[str, int, int, Sequence[float]]] = []
        self.pushes: list[tuple[str, int, int]] = []

    def features_read(self, service: str, rows: int, cache_hits: int, seconds: float, ages: Sequence[float]) -> None:
        assert seconds > 0
        self.reads.append((service, rows, cache_hits, ages))

    def features_pushed(self, source: str, rows: int, stale: int) -> None:
        self.pushes.append((source, rows, stale))


def test_the_views_ttl_is_the_maximum_age_against_event_time(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 3.5)])
    reader = FeastReader(repo, "wind_v1")
    assert statuses(reader, "JFK", at_ms=NOON_MS + 120 * MINUTE_MS) == "present"
    assert statuses(reader, "JFK", at_ms=NOON_MS + 120 * MINUTE_MS + 1) == "outside-max-age"
    assert winds(reader, "JFK", at_ms=NOON_MS + 120 * MINUTE_MS + 1) == [None]


def test_a_stated_maximum_age_stands_in_place_of_the_ttl(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 3.5)])
    reader = FeastReader(repo, "wind_v1", options=JoinOptions(max_age={"origin_weather": timedelta(minutes=1)}))
    assert statuses(reader, "JFK", at_ms=NOON_MS + MINUTE_MS) == "present"
    assert statuses(reader, "JFK", at_ms=NOON_MS + MINUTE_MS + 1) == "outside-max-age"


def test_a_row_later_than_the_event_is_from_the_future(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 3.5)])
    batch = FeastReader(repo, "wind_v1").read({"origin": ["JFK", "JFK", "LGA"]}, [NOON_MS - 1, NOON_MS, NOON_MS])
    assert batch.columns == {"wind": [None, 3.5, None]}
    assert [batch.row(place).status["wind"] for place in range(3)] == ["from-the-future", "present", "not-found"]


def test_the_age_is_that_of_the_oldest_present_value(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 3.5)])
    route = {"carrier": "AA", "origin": "JFK", "late_share": 0.5, "flights": 3}
    write(repo, "route", [route | {"event_timestamp": NOON - timedelta(minutes=5)}])
    keys: dict[str, list[Any]] = {"origin": ["JFK", "JFK", "LGA"], "carrier": ["AA", "UA", "AA"]}
    batch = FeastReader(repo, "delay_v1").read(keys, [NOON_MS + MINUTE_MS] * 3)
    assert batch.ages_ms == [6 * MINUTE_MS, MINUTE_MS, 0]
    assert batch.row(0).age == timedelta(minutes=6)


def test_a_null_value_is_null_and_a_null_key_is_not_found(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", None)])
    reader = FeastReader(repo, "wind_v1")
    assert statuses(reader, "JFK") == "null"
    assert statuses(reader, None) == "not-found"
    assert winds(reader, None, "JFK", None) == [None, None, None]


def test_a_null_key_of_one_view_leaves_the_others(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 3.5)])
    row = FeastReader(repo, "delay_v1").read({"origin": ["JFK"], "carrier": [None]}, [NOON_MS]).row(0)
    assert (row["wind"], row["late_share"], row.status["late_share"]) == (3.5, None, "not-found")


def test_an_empty_batch_has_empty_columns(repo: Path) -> None:
    reader: FeatureReader = FeastReader(repo, "wind_v1")
    batch = reader.read({"origin": []}, [])
    assert (batch.size, batch.columns, batch.ages_ms) == (0, {"wind": []}, [])


def test_a_key_of_the_wrong_type_is_the_rows_fault(repo: Path) -> None:
    with pytest.raises(FeatureRowError, match=r"'thing_id'.*INT64"):
        FeastReader(repo, "things_v1").read({"thing_id": [1, "not a number"]}, [NOON_MS, NOON_MS])


def test_a_missing_join_key_is_the_plans_fault(repo: Path) -> None:
    with pytest.raises(PlanError, match="'delay_v1' needs 'carrier'"):
        FeastReader(repo, "delay_v1").read({"origin": ["JFK"]}, [NOON_MS])


def test_more_entities_than_sqlite_takes_in_one_statement_are_read(repo: Path) -> None:
    write(repo, "origin_weather", [weather("33000", 3.5)])
    origins = [str(number) for number in range(33_001)]
    assert winds(FeastReader(repo, "wind_v1"), *origins)[-2:] == [None, 3.5]


@pytest.mark.parametrize(
    "options",
    [JoinOptions(max_age={"wether": None}), JoinOptions(cache_max_ages={"wether": timedelta(hours=1)})],
)
def test_an_option_for_a_view_that_is_not_in_the_service_is_refused(repo: Path, options: JoinOptions) -> None:
    with pytest.raises(PlanError, match=r"max_ages? names 'wether'.*origin_weather"):
        FeastReader(repo, "wind_v1", options=options)


def test_feast_is_imported_only_when_a_repository_is_opened() -> None:
    program = "import sys, streamserve.features.feast, streamserve.features.memory; sys.exit('feast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_importing_feast_leaves_metrics_in_memory_here_and_in_processes_that_are_started_from_here() -> None:
    program = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        "from streamserve.features.environment import environment_kept\n"
        "with environment_kept():\n"
        "    import feast.metrics\n"
        "from prometheus_client import values\n"
        "sys.exit(dict(os.environ) != before or values.ValueClass is not values.MutexValue)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_cached_rows_are_answered_without_the_store_and_counted(repo: Path) -> None:
    recorder = Recorder()
    reader = FeastReader(repo, "wind_v1", options=JoinOptions(cache_max_age=timedelta(hours=1)), observer=recorder)
    winds(reader, "JFK", "LGA", "JFK")
    winds(reader, "JFK", "EWR")
    assert [(rows, hits) for _, rows, hits, _ in recorder.reads] == [(3, 0), (2, 1)]


def test_a_pushed_row_is_read_at_once_and_written_when_flushed(repo: Path) -> None:
    recorder = Recorder()
    reader = FeastReader(repo, "wind_v1", observer=recorder)
    reader.push("weather", [weather("JFK", 1.0), weather("JFK", 2.0, minutes=1), weather("LGA", 5.0)])
    assert winds(reader, "JFK", "LGA", at_ms=NOON_MS + MINUTE_MS) == [2.0, 5.0]
    assert expected(repo, "wind_v1", {"origin": ["JFK"]}) == {"wind": [None]}
    reader.flush_pushes()
    reader.flush_pushes()
    assert expected(repo, "wind_v1", {"origin": ["JFK", "LGA"]}) == {"wind": [2.0, 5.0]}
    assert recorder.pushes == [("weather", 3, 0)]


def test_pushed_rows_are_what_feasts_own_push_would_have_written(repo: Path) -> None:
    whole = {"origin": "JFK", "wind": 0.1, "sky": "Ö", "gusts": 2**53 + 1, "event_timestamp": NOON}
    reader = FeastReader(repo, "delay_v1")
    keys: dict[str, list[Any]] = {"origin": ["JFK"], "carrier": ["AA"]}
    reader.push("weather", [whole])
    seen = reader.read(keys, [NOON_MS]).columns
    write(repo, "origin_weather", [whole])
    assert seen == expected(repo, "delay_v1", keys)


def test_a_pushed_row_no_newer_than_the_known_one_is_left_out(repo: Path) -> None:
    recorder = Recorder()
    reader = FeastReader(repo, "wind_v1", observer=recorder)
    reader.push("weather", [weather("JFK", 2.0, minutes=1), weather("JFK", 1.0), weather("JFK", 9.0, minutes=1)])
    reader.flush_pushes()
    assert recorder.pushes == [("weather", 1, 2)]
    assert winds(reader, "JFK", at_ms=NOON_MS + MINUTE_MS) == [2.0]


def test_replayed_pushes_after_a_crash_do_not_overwrite_what_is_newer(repo: Path) -> None:
    write(repo, "origin_weather", [weather("JFK", 7.0, minutes=30)])
    reader = FeastReader(repo, "wind_v1")
    reader.push("weather", [weather("JFK", 1.0), weather("LGA", 2.0)])
    reader.flush_pushes()
    assert expected(repo, "wind_v1", {"origin": ["JFK", "LGA"]}) == {"wind": [7.0, 2.0]}
    assert statuses(reader, "JFK") == "from-the-future"


def test_a_push_feeds_views_that_the_service_does_not_read(repo: Path) -> None:
    reader = FeastReader(repo, "things_v1")
    reader.push("weather", [weather("JFK", 4.0)])
    reader.flush_pushes()
    assert expected(repo, "wind_v1", {"origin": ["JFK"]}) == {"wind": [4.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"origin": None}, "null join key"),
        ({"event_timestamp": "noon"}, "'event_timestamp'.*not a datetime"),
        ({"gusts": "many"}, "'gusts'.*INT64"),
    ],
)
def test_a_bad_pushed_row_is_named_and_nothing_is_taken(repo: Path, change: Mapping[str, object], message: str) -> None:
    reader = FeastReader(repo, "wind_v1")
    with pytest.raises(FeatureRowError, match=message):
        reader.push("weather", [weather("LGA", 1.0), {**weather("JFK", 1.0), **change}])
    assert winds(reader, "LGA") == [None]


def test_a_pushed_row_without_a_field_is_named(repo: Path) -> None:
    row = weather("JFK", 1.0)
    del row["gusts"]
    with pytest.raises(FeatureRowError, match="no field 'gusts'"):
        FeastReader(repo, "wind_v1").push("weather", [row])


def test_an_unknown_push_source_names_those_there_are(repo: Path) -> None:
    with pytest.raises(PlanError, match=r"no push source 'wether'.*known: weather"):
        FeastReader(repo, "wind_v1").push("wether", [])


def test_on_demand_features_see_pushed_rows_and_respect_ages(repo: Path) -> None:
    reader = FeastReader(repo, "crosswind_v1")
    reader.push("weather", [weather("JFK", 2.0)])
    keys: dict[str, list[Any]] = {
        "origin": ["JFK", "JFK", "JFK"],
        "carrier": ["AA", "AA", "AA"],
        "angle": [0.5, 0.5, None],
    }
    batch = reader.read(keys, [NOON_MS, NOON_MS + 1000 * MINUTE_MS, NOON_MS])
    assert batch.columns["crosswind"] == [1.0, None, None]
    assert [batch.row(place).status["crosswind"] for place in range(3)] == ["present", "outside-max-age", "not-found"]


def test_a_store_that_does_not_answer_is_an_outage_with_its_cause(repo: Path) -> None:
    reader = FeastReader(repo, "wind_v1")
    database = repo / "data" / "online.db"
    database.unlink()
    with pytest.raises(OutageError, match="'origin_weather'") as outage:
        winds(reader, "JFK")
    assert isinstance(outage.value.__cause__, sqlite3.OperationalError)


def test_a_flush_that_failed_can_be_repeated(repo: Path) -> None:
    reader = FeastReader(repo, "wind_v1")
    reader.push("weather", [weather("JFK", 2.0)])
    database = sqlite3.connect(repo / "data" / "online.db")
    database.execute("ALTER TABLE flights_origin_weather RENAME TO away")
    with pytest.raises(OutageError):
        reader.flush_pushes()
    database.execute("ALTER TABLE away RENAME TO flights_origin_weather")
    database.close()
    reader.flush_pushes()
    assert expected(repo, "wind_v1", {"origin": ["JFK"]}) == {"wind": [2.0]}


def test_a_service_is_described_without_its_online_store(repo: Path) -> None:
    (repo / "data" / "online.db").unlink()
    service = describe(repo, "crosswind_v1")
    assert service.join_keys == ("carrier", "origin")
    assert service.request_fields == ("angle",)
    assert service.features == {"late_share": float, "flights": int, "crosswind": float}
    assert service.on_demand == ("crosswind",)
    assert service.push_sources == {"weather": ("origin_weather",)}
    assert [(view.table, view.ttl) for view in service.views] == [
        ("route", None),
        ("origin_weather", timedelta(hours=2)),
    ]
    assert not (repo / "data" / "online.db").exists()


def test_an_unknown_service_names_those_there_are(repo: Path) -> None:
    with pytest.raises(PlanError, match=r"no feature service 'delay_v2'.*crosswind_v1, delay_v1.*feast apply"):
        describe(repo, "delay_v2")


def test_features_of_one_name_are_refused_with_a_remedy(repo: Path) -> None:
    with pytest.raises(PlanError, match=r"gusts, sky, wind: .*full feature names"):
        describe(repo, "ends_v1")


def test_a_repository_that_was_not_applied_is_refused_and_left_alone(repo: Path) -> None:
    registry = repo / "data" / "registry.db"
    registry.unlink()
    with pytest.raises(PlanError, match="feast apply"):
        describe(repo, "delay_v1")
    assert not registry.exists()


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no feature_store\.yaml.*feature_repo"):
        describe(tmp_path, "delay_v1")


def test_an_unreadable_configuration_is_refused_with_its_cause(repo: Path) -> None:
    (repo / "feature_store.yaml").write_text("project: [")
    with pytest.raises(PlanError, match="cannot be resolved") as refusal:
        describe(repo, "delay_v1")
    assert refusal.value.__cause__ is not None


def test_a_view_that_is_gone_is_named(repo: Path) -> None:
    store = FeatureStore(repo_path=str(repo))
    store.delete_feature_view("overall")
    with pytest.raises(PlanError, match="'overall' is missing"):
        describe(repo, "delay_v1")
