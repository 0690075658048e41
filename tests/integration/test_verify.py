"""``streamserve verify`` kills real workers, and finds nothing: in the built-in app, and in one of a user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.feeding import Feeder
from tests.integration.conftest import MakeTopics

pytestmark = pytest.mark.broker

OWN = """
from collections.abc import AsyncIterator
from uuid import uuid4
from streamserve import App, Reject, Stream
import msgspec

class Event(msgspec.Struct, frozen=True):
    user: str
    amount: int

class Total(msgspec.Struct, frozen=True):
    user: str
    total: int
    noise: str

app = App("NAME")
totals = app.table("totals", int, default=int)
out = app.topic("out.NAME", Total, key="user")

@app.agent(app.topic("in.NAME", Event, key="user"), to=out)
async def add(stream: Stream[Event]) -> AsyncIterator[Total]:
    async for event in stream:
        if event.amount == 13:
            raise Reject("unlucky")
        total = totals.update(event.user, lambda total, amount=event.amount: total + amount)
        yield Total(event.user, total, uuid4().hex)
"""


def verify(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the command, which has to find nothing, and return its JSON."""
    command = [sys.executable, "-m", "streamserve", "verify", *arguments, "--json"]
    ended = subprocess.run(command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    kinds = ("lost", "duplicated", "reordered", "phantom", "torn", "stale", "anomalies")
    assert [report[kind] for kind in kinds] == [0] * len(kinds)
    return report


def test_the_built_in_app_keeps_the_contract_through_kills(brokers: str, tmp_path: Path) -> None:
    report = verify(tmp_path, "--brokers", brokers, "--events", "5000", "--kills", "4", "--seed", "3")
    assert report["events"] == 5004
    assert report["kills"] >= 4
    assert report["incarnations"] > 2
    assert report["dead_letters"] == 23


def test_an_app_of_a_users_comes_to_the_same_with_kills_as_without(
    brokers: str, topic_name: str, make_topics: MakeTopics, tmp_path: Path
) -> None:
    name = f"own{topic_name[-9:]}"
    (tmp_path / "owned.py").write_text(OWN.replace("NAME", name))
    make_topics(f"in.{name}", partitions=2, config={"retention.ms": "-1"})
    values = [json.dumps({"user": f"user-{n % 10}", "amount": n % 50}).encode() for n in range(2000)]
    records = [ReadRecord(f"in.{name}", n % 10 % 2, 0, b"user-%d" % (n % 10), values[n], [], n) for n in range(2000)]
    Feeder(brokers).copy(records)
    given = ("owned:app", "--brokers", brokers, "--events", "1000", "--kills", "2", "--ignore", "noise")
    report = verify(tmp_path, *given)
    assert report["kills"] >= 2
    assert (report["events"], report["outcomes"], report["dead_letters"]) == (1000, 1000, 20)
