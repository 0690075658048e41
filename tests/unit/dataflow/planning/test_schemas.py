"""The published schemas: of every topic, true to what is written, and up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from streamserve import App, Binary
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.schemas import (
    DeadLetterHeaders,
    LoggedFeatures,
    check_schemas,
    main,
    schemas,
    write_schemas,
)
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.errors import AgentError, DecodeError, WindowError
from streamserve.features.memory import MemoryReader
from streamserve.kafka.dead_letters import dead_letter, failed_timer, lost_result

CHECKOUT = Path(__file__).parents[4]


class Raw:
    """A record as the Kafka client delivers it."""

    def value(self) -> bytes:
        return b"{"

    def key(self) -> bytes:
        return b"u1"

    def topic(self) -> str:
        return "events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 60_000

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("trace", b"1")]


class Event(BaseModel):
    user: str


def plan_of(*, log: float = 1.0) -> Plan:
    app = App("shop")
    events = app.topic("events", Event, key="user")
    raw = app.topic("raw")
    features = app.features("users_v1", event=Event, log=log)
    model = app.model("spam", inputs=[features], output=Binary)
    app.score(events, features=features, model=model, to=raw)
    app.monitor(model, detectors=[], window="1h")
    return app.plan()


def test_every_topic_but_the_changelog_has_a_schema() -> None:
    plan = plan_of()
    topics = {*plan.topics, *plan.engine_topics()} - {plan.state_topic}
    assert schemas(plan).keys() == topics
    assert all(schema["$schema"].startswith("https://json-schema.org/") for schema in schemas(plan).values())
    assert schemas(plan_of(log=0)).keys() == topics - {plan.features_topic}


def test_the_schema_of_an_event_is_its_types() -> None:
    assert schemas(plan_of())["events"]["required"] == ["user"]


def test_dead_letters_have_the_headers_that_are_described() -> None:
    letter = dead_letter("shop-dead-letters", "decode", Raw(), DecodeError("not JSON"))
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    described = DeadLetterHeaders.model_validate(headers)
    assert (described.source_topic, described.source_partition, described.source_offset) == ("events", "3", "7")
    required: list[str] = schemas(plan_of())["shop-dead-letters"]["required"]
    assert set(required) == {"step", "reason", "error", "message"}


def test_a_lost_result_has_the_headers_that_are_described() -> None:
    letter = lost_result("shop-dead-letters", "hourly", b"ann", 0, 3_600_000, WindowError("no"))
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    described = DeadLetterHeaders.model_validate(headers)
    assert (described.window, described.window_start, described.window_end) == ("hourly", "0", "3600000")
    assert described.model_extra == {}


def test_a_failed_timer_has_the_headers_that_are_described() -> None:
    letter = failed_timer("shop-dead-letters", "seen-timer", "seen", 3, b"ann", "processing", 5_000, AgentError("no"))
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    described = DeadLetterHeaders.model_validate(headers)
    assert (described.table, described.table_partition) == ("seen", "3")
    assert (described.timer_clock, described.timer_time) == ("processing", "5000")
    assert described.model_extra == {}
    assert (letter.key, letter.value) == (b"ann", None)


def test_a_logged_feature_row_is_what_is_described() -> None:
    plan = plan_of()
    rows = {"u1": {"clicks": 3}}
    reader = MemoryReader("users_v1", ["user"], {"clicks": int, "city": str}, rows)
    join = FeatureJoin(plan.features["users_v1"], reader, plan.features_topic)
    batch = RecordBatch("events", "events", [Raw()], [Event(user="u1")], [3], [60_000])
    join.read(batch.values, batch.times_ms, [0])
    [(emission, _)] = join.drain(batch)
    row = LoggedFeatures.model_validate_json(emission.value or b"")
    assert (row.features, row.status) == ({"clicks": 3, "city": None}, {"city": "not-found"})
    assert (row.source_topic, row.source_partition, row.source_offset) == ("events", 3, 7)
    assert schemas(plan)["shop-features"]["required"] == list(json.loads(emission.value or b""))


def test_files_are_written_once_and_then_up_to_date(tmp_path: Path) -> None:
    plan = plan_of()
    assert len(write_schemas(plan, tmp_path)) == len(schemas(plan))
    assert write_schemas(plan, tmp_path) == check_schemas(plan, tmp_path) == []


def test_missing_changed_and_left_over_files_are_found(tmp_path: Path) -> None:
    plan = plan_of()
    write_schemas(plan, tmp_path)
    (tmp_path / "events.json").write_text("{}")
    (tmp_path / "raw.json").unlink()
    (tmp_path / "gone.json").write_text("{}")
    stale = [tmp_path / name for name in ("events.json", "gone.json", "raw.json")]
    assert check_schemas(plan, tmp_path) == stale
    assert write_schemas(plan, tmp_path) == stale
    assert not (tmp_path / "gone.json").exists()


def test_the_schemas_of_this_checkout_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert (main(["--check"]), capsys.readouterr().out) == (0, "")
