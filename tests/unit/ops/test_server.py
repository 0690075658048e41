"""The endpoints answer as probes and Prometheus ask."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from streamserve.clock import ManualClock
from streamserve.errors import ConfigurationError
from streamserve.ops.health import Health
from streamserve.ops.metrics import PrometheusObserver
from streamserve.ops.server import OpsServer


@dataclass
class Worker:
    clock: ManualClock
    metrics: PrometheusObserver
    health: Health
    server: OpsServer

    def get(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> tuple[int, dict[str, Any]]:
        status, content_type, body = self.get(path)
        assert content_type == "application/json"
        return status, json.loads(body)


@pytest.fixture
def worker() -> Iterator[Worker]:
    clock = ManualClock()
    metrics, health = PrometheusObserver("flights"), Health(models=["delay"], clock=clock)
    with OpsServer(metrics, health) as server:
        yield Worker(clock, metrics, health, server)


def test_metrics_are_prometheus_text(worker: Worker) -> None:
    worker.metrics.committed(5, 0.01)
    status, content_type, body = worker.get("/metrics?x=1")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"streamserve_records_committed_total 5.0" in body


def test_a_moving_engine_is_healthy(worker: Worker) -> None:
    status, body = worker.json("/healthz")
    assert (status, body["healthy"]) == (200, True)


def test_a_stalled_engine_is_503_with_the_cause(worker: Worker) -> None:
    worker.clock.advance(61)
    status, body = worker.json("/healthz")
    assert (status, body["healthy"], body["seconds_since_progress"], body["last_step"]) == (503, False, 61, "start")
    assert body["stack"]


def test_readiness_is_503_with_reasons_until_nothing_is_waited_for(worker: Worker) -> None:
    status, body = worker.json("/readyz")
    assert (status, body["ready"]) == (503, False)
    assert body["waiting_for"] == {"assigned": "partitions from the consumer group", "model delay": "its golden answer"}
    worker.health.assigned({"flights": [0]})
    worker.health.model_loaded("delay", "1", "ab", 64)
    assert worker.json("/readyz") == (200, {"ready": True, "waiting_for": {}})


def test_an_unknown_page_names_those_that_exist(worker: Worker) -> None:
    status, body = worker.json("/")
    assert (status, body) == (404, {"error": "no such page; there are /metrics, /healthz, /readyz"})


def test_head_has_no_body(worker: Worker) -> None:
    assert worker.get("/healthz", method="HEAD")[::2] == (200, b"")


def test_other_methods_are_refused(worker: Worker) -> None:
    assert worker.get("/metrics", method="POST")[0] == 501


def test_nothing_is_logged_on_stderr(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    worker.get("/metrics")
    worker.get("/nowhere")
    assert capfd.readouterr() == ("", "")


def test_a_client_that_says_nothing_does_not_hold_the_others(worker: Worker) -> None:
    with socket.create_connection(("127.0.0.1", worker.server.port)):
        assert worker.get("/healthz")[0] == 200


def test_a_port_in_use_is_an_error_with_a_remedy(worker: Worker) -> None:
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{worker.server.port} .* choose another port"):
        OpsServer(worker.metrics, worker.health, port=worker.server.port)


def test_a_closed_server_frees_its_port(worker: Worker) -> None:
    port = worker.server.port
    worker.server.close()
    with OpsServer(worker.metrics, worker.health, port=port) as server:
        assert server.port == port


def test_a_server_that_never_started_closes(worker: Worker) -> None:
    OpsServer(worker.metrics, worker.health).close()


def test_the_url_names_the_address_that_is_bound(worker: Worker) -> None:
    assert worker.server.url == f"http://127.0.0.1:{worker.server.port}"
