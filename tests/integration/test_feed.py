"""What the containers of ``compose/`` begin with, on a broker of its own: the flights' topics have fixed names."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from streamserve.broker.server import LocalBroker
from streamserve.testing.checks import read_topic
from topologies.flights.feed import main

pytestmark = pytest.mark.broker

FLIGHTS = 300


@pytest.fixture
def brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    with LocalBroker(tmp_path / "broker") as broker:
        monkeypatch.setenv("STREAMSERVE_BOOTSTRAP_SERVERS", broker.address)
        monkeypatch.setenv("TZ", "UTC")
        yield broker.address


def test_the_feed_prepares_once_and_replays_records_of_the_present(brokers: str, tmp_path: Path) -> None:
    repo, began = tmp_path / "repo", time.time()
    prepare = ["prepare", str(repo), "--events", str(FLIGHTS)]
    assert main(prepare) == 0
    made = (repo / "data" / "online_store.db").stat().st_mtime_ns
    assert main(prepare) == 0
    assert (repo / "data" / "online_store.db").stat().st_mtime_ns == made
    assert not repo.with_name("repo.part").exists()

    assert main(["replay", "--speed", "1e9", "--events", str(FLIGHTS)]) == 0
    records = read_topic(brokers, "flights")
    assert len(records) == FLIGHTS
    assert all(began - 60 < record.timestamp_ms / 1000 < time.time() + 60 for record in records)
