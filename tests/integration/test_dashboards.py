"""A real Prometheus scrapes two real workers of the flights: every query of every dashboard finds data."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer

from compose.dashboards import BOARDS
from streamserve.broker.server import LocalBroker
from tests.integration.waiting import HOST, free_ports, ready, wait_until
from tests.unit.compose.queries import filled
from topologies.flights.feed import prepare, replay

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

ROOT = Path(__file__).parents[2]
EVENTS = 32_000
"""Flights until a month is over and its labels are in, so that live performance has a closed window."""
READY_WITHIN_S = 180.0
SCORED_WITHIN_S = 420.0
DATA_WITHIN_S = 150.0
NO_TROUBLE = {
    "on-call: Skipped, late and refused",
    "on-call: Engine restarts in an hour",
    "on-call: Alerts firing",
    "model: Look-ups",
}
"""Panels of counters that nothing has counted yet in a run without such troubles: they show zero."""
ZERO = " or vector(0)"


class Prometheus:
    """A server with the committed configuration, which finds its workers by address and scrapes each second."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.began = time.time()
        self._url = f"http://{HOST}:{free_ports(1)}"
        shutil.copytree(ROOT / "compose" / "prometheus", folder)
        config = yaml.safe_load((folder / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": [f"{HOST}:{port}" for port in ports]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = self._url.removeprefix("http://")
        # Debian's Prometheus would keep its data under /var, and find there what an earlier run has left.
        storage = "--storage.tsdb.path=data"
        self.command = ["prometheus", "--config.file=prometheus.yml", storage, f"--web.listen-address={address}"]
        self.folder = folder

    def series(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds over the whole run, a value every five seconds."""
        span = {"start": self.began, "end": time.time(), "step": 5}
        return self._get("query_range", {"query": query, **span})["result"]

    def value(self, query: str) -> float:
        """Return the sum of what a query finds now."""
        return sum(float(one["value"][1]) for one in self._get("query", {"query": query})["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as the server evaluated them."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def _get(self, what: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        query = urllib.parse.urlencode({name: str(value) for name, value in parameters.items()})
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{what}?{query}", timeout=30) as answer:  # noqa: S310 - our own, on loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def running(command: Sequence[str], folder: Path, log: Path) -> Generator[None]:
    """Run a program until the block ends, its output in a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def feed(brokers: str) -> None:
    """Replay the flights, a record that is none before and after them: what too slow a commit did is not counted."""
    spoil(brokers)
    replay(speed=1e9, first=EVENTS)
    spoil(brokers)


def spoil(brokers: str) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce("flights", b"{", b"JFK")
    assert producer.flush(60) == 0


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Generator[Prometheus]:
    folder = tmp_path_factory.mktemp("dashboards")
    first = free_ports(2)
    ports = [first, first + 1]
    with LocalBroker(folder / "broker") as broker, pytest.MonkeyPatch.context() as patched:
        patched.setenv("STREAMSERVE_BOOTSTRAP_SERVERS", broker.address)
        patched.setenv("STREAMSERVE_FEATURE_REPO", str(folder / "repo"))
        prepare(folder / "repo", first=EVENTS)
        work = [sys.executable, "-m", "streamserve", "run", "topologies.flights.app:app"]
        server = Prometheus(folder / "prometheus", ports)
        with (
            running([*work, "--workers", "2", "--http-port", str(first)], ROOT, folder / "workers.log"),
            running(server.command, server.folder, folder / "prometheus.log"),
        ):
            wait_until(lambda: all(ready(port) for port in ports), "workers that are ready", READY_WITHIN_S)
            feed(broker.address)
            closed = 'count (streamserve_performance{window="last", version="", slice=""})'
            wait_until(lambda: server.value(closed) > 0, "live performance of a month", SCORED_WITHIN_S)
            yield server


def has_data(prometheus: Prometheus, query: str) -> bool:
    numbers = (float(value) for one in prometheus.series(query) for _, value in one["values"])
    return any(not math.isnan(number) for number in numbers)


def test_every_query_of_every_dashboard_finds_data(prometheus: Prometheus) -> None:
    """Soon: rates take two scrapes, and availability counts whole minutes."""
    queries = [(name, filled(query)) for board in BOARDS for name, query in board.expressions()]
    counted = [(name, query) for name, query in queries if query.endswith(ZERO) and name not in NO_TROUBLE]
    left = [*queries, *((name, query.removesuffix(ZERO)) for name, query in counted)]
    give_up = time.monotonic() + DATA_WITHIN_S
    while left and time.monotonic() < give_up:
        left = [(name, query) for name, query in left if not has_data(prometheus, query)]
        time.sleep(1)
    assert left == []


def test_latency_is_measured_from_the_moment_of_sending(prometheus: Prometheus) -> None:
    latency = "sum (streamserve_event_to_commit_seconds_sum) / sum (streamserve_event_to_commit_seconds_count)"
    assert 0 < prometheus.value(latency) < READY_WITHIN_S + SCORED_WITHIN_S


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert len(rules) > 20
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
