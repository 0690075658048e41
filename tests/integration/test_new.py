"""A topology made by ``streamserve new`` runs as it is, and a command of an app's own writes to Kafka."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamserve.testing.checks import ReadRecord, read_topic
from tests.integration.driving import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PAYMENT = {"id": "1", "customer": "ann", "amount": 95.0, "at": "2026-01-01T12:00:00Z"}
COMMAND = """

@app.command()
async def pay(customer: str, amount: float) -> None:
    "Send a payment."
    at = datetime(2026, 1, 1, 12)
    await payments.send(Payment(id="2", customer=customer, amount=amount, at=at), headers={"by": b"hand"})
"""


def streamserve(folder: Path, brokers: str, *arguments: str) -> str:
    """Run a command in ``folder``; return what it said."""
    command = [sys.executable, "-m", "streamserve", *arguments]
    environment = {**os.environ, "STREAMSERVE_BOOTSTRAP_SERVERS": brokers}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def running(folder: Path, brokers: str, name: str) -> Generator[None]:
    """Run the app ``name`` beside the block."""
    command = [sys.executable, "-m", "streamserve", "run", f"{name}.app:app", "--brokers", brokers]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stderr=log) as worker:
        try:
            yield
        finally:
            worker.terminate()
            worker.wait(60)


def test_a_new_topology_runs_as_it_is(brokers: str, tmp_path: Path) -> None:
    name = f"suspicion_{time.time_ns():x}"
    streamserve(tmp_path, brokers, "new", name)
    with (tmp_path / name / "app.py").open("a") as app:
        app.write(COMMAND)
    streamserve(tmp_path, brokers, "topics", "create", f"{name}.app:app")
    streamserve(tmp_path, brokers, "send", f"{name}.app:app", f"{name}-payments", json.dumps(PAYMENT))
    streamserve(tmp_path, brokers, "call", f"{name}.app:app", "pay", "bob", "5")
    with running(tmp_path, brokers, name):
        wait_until(lambda: len(read_topic(brokers, f"{name}-scores")) == 2, "two scores", 120)
    found = {record.key: score_of(record) for record in read_topic(brokers, f"{name}-scores")}
    assert found[b"ann"] > 0.5 > found[b"bob"]
    assert [record.headers for record in read_topic(brokers, f"{name}-payments") if record.key == b"bob"] == [
        [("by", b"hand")]
    ]


def score_of(record: ReadRecord) -> float:
    """Return the probability in a score."""
    return float(json.loads(record.value or b"{}")["probability"])
