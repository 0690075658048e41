"""``streamserve read`` shows what a read_committed reader sees of an app's topics."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from streamserve.cli import main
from tests.integration.driving import MakeTopics

pytestmark = pytest.mark.broker

APP = """
from streamserve import App

app = App("{name}")
clicks = app.topic("{name}-clicks", dict, key=str)
seen = app.topic("{name}-seen", dict, key=str)


@app.agent(clicks, to=seen)
async def note(stream):
    async for click in stream:
        yield click
"""
PARTITIONS = 2
HOUR_MS = 3_600_000


@pytest.fixture
def app(topic_name: str, tmp_path: Path, make_topics: MakeTopics) -> Generator[str]:
    """An app whose module can be imported, with its topics."""
    module = topic_name.replace("-", "_")
    (tmp_path / f"{module}.py").write_text(APP.format(name=topic_name))
    make_topics(*(f"{topic_name}-{name}" for name in ("clicks", "seen", "dead-letters")), partitions=PARTITIONS)
    sys.path.insert(0, str(tmp_path))
    yield f"{module}:app"
    sys.path.remove(str(tmp_path))
    sys.modules.pop(module, None)


def write(brokers: str, topic: str, *, transactional_id: str = "", commit: bool = True) -> Producer:
    """Write four records to each partition, an hour apart, in a transaction if one is named."""
    named = {"transactional.id": transactional_id} if transactional_id else {}
    producer = Producer({"bootstrap.servers": brokers, **named})
    if named:
        producer.init_transactions(30)
        producer.begin_transaction()
    for number in range(4):
        for partition in range(PARTITIONS):
            value = json.dumps({"n": number}).encode()
            at = (number + 1) * HOUR_MS
            producer.produce(topic, value, f"k{number % 2}", partition, timestamp=at, headers=[("by", b"hand")])
    producer.flush(30)
    if named and commit:
        producer.commit_transaction(30)
    return producer


def read(brokers: str, *arguments: str) -> list[dict[str, Any]]:
    """Return what the command prints as JSON."""
    result = CliRunner().invoke(main, ["read", *arguments, "--brokers", brokers, "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def numbers(brokers: str, *arguments: str) -> list[int]:
    """Return what came from partition 0, in order."""
    return [record["value"]["n"] for record in read(brokers, *arguments) if record["partition"] == 0]


def test_records_come_decoded_in_order_from_wherever_one_begins(app: str, topic_name: str, brokers: str) -> None:
    topic = f"{topic_name}-clicks"
    write(brokers, topic)
    first = read(brokers, app, topic)[0]
    assert (first["key"], first["value"], first["headers"]) == ("k0", {"n": 0}, {"by": "hand"})
    assert first["time"] == "1970-01-01T01:00:00.000Z"
    assert numbers(brokers, app, topic) == [0, 1, 2, 3]
    assert numbers(brokers, app, topic, "--from", "2") == [2, 3]
    assert numbers(brokers, app, topic, "--from", "-1") == [3]
    assert numbers(brokers, app, topic, "--from", "1970-01-01T02:30") == [2, 3]
    assert numbers(brokers, app, topic, "--from", "1h") == []
    assert numbers(brokers, app, topic, "--from", "end") == []
    assert numbers(brokers, app, topic, "--key", "k1") == [1, 3]
    assert len(read(brokers, app, topic, "--limit", "3")) == 3


def test_what_is_not_committed_is_not_shown_and_that_is_said(app: str, topic_name: str, brokers: str) -> None:
    topic = f"{topic_name}-clicks"
    write(brokers, topic, transactional_id=f"{topic_name}-1")
    open_one = write(brokers, topic, transactional_id=f"{topic_name}-2", commit=False)
    assert numbers(brokers, app, topic) == [0, 1, 2, 3]
    result = CliRunner().invoke(main, ["read", app, topic, "--brokers", brokers])
    assert "a transaction is open" in result.stderr
    open_one.abort_transaction(30)
    result = CliRunner().invoke(main, ["read", app, topic, "--brokers", brokers])
    assert result.stderr == ""
    assert result.stdout.count('"n"') == 8


def test_a_dead_letters_table_says_why_and_where_from(app: str, topic_name: str, brokers: str) -> None:
    headers: dict[str, str | bytes | None] = {"step": "decode", "reason": "decode", "message": "page: missing"}
    headers |= {"source-topic": "clicks", "source-partition": "1", "source-offset": "9"}
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(f"{topic_name}-dead-letters", b"{broken", b"ann", headers=headers)
    producer.flush(30)
    result = CliRunner().invoke(main, ["read", app, "dead-letters", "--brokers", brokers])
    row = [cell.strip() for cell in result.stdout.splitlines()[3].split("│")[3:-1]]
    assert row == ["clicks[1]@9", "ann", "decode at decode: page: missing", "{broken"]


def test_an_output_topic_that_is_empty_tells_of_dead_letters(app: str, topic_name: str, brokers: str) -> None:
    said = CliRunner().invoke(main, ["read", app, f"{topic_name}-seen", "--brokers", brokers]).stderr
    assert "dead letter" not in said
    write(brokers, f"{topic_name}-dead-letters")
    said = CliRunner().invoke(main, ["read", app, f"{topic_name}-seen", "--brokers", brokers]).stderr
    assert f"There are 8 dead letters: 'streamserve read {app} dead-letters --brokers {brokers}' says why" in said


def test_a_topic_that_is_not_on_the_broker_is_said_to_be_missing(app: str, topic_name: str, brokers: str) -> None:
    [module, _] = app.split(":")
    sys.modules.pop(module, None)
    path = Path(sys.path[0]) / f"{module}.py"
    path.write_text(path.read_text() + f"\nother = app.topic('{topic_name}-other', dict, key=str)\n")
    result = CliRunner().invoke(main, ["read", app, f"{topic_name}-other", "--brokers", brokers])
    assert result.exit_code == 1
    assert "topics create" in result.stderr
