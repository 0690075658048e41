"""The pages of tables: what a worker owns, as of its last commit, and only where they are exposed."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from streamserve import App
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.owning.held import HeldTables
from streamserve.dataflow.planning.plan import Part
from streamserve.ops.health import Health
from streamserve.ops.metrics import PrometheusObserver
from streamserve.ops.server import OpsServer
from streamserve.state.definition import TableDefinition
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore
from streamserve.state.table import TableState

KEYS = {b"ann": "1", b"a/b c": "2", b"\xff": "3"}


def two_groups() -> dict[tuple[str, int], Group]:
    """Return the groups of a worker that owns partition 1 with three keys and partition 3 with none."""
    groups: dict[tuple[str, int], Group] = {}
    for partition, keys in ((1, KEYS), (3, dict[bytes, str]())):
        table = TableState(TableDefinition("seen", str.encode, bytes.decode), MemoryStore())
        event = Pending(0)
        for key, value in keys.items():
            table.set(event, key, value)
        event.commit()
        table.take_changes()
        uncommitted = Pending(0)
        table.set(uncommitted, b"ann", "7")
        uncommitted.commit()
        group = Group(Part("clicks", ("clicks",), (), frozenset(), ("seen",)), partition, tables={"seen": table})
        groups[group.key] = group
    return groups


@contextmanager
def serving(tables: HeldTables) -> Generator[None]:
    """Answer as the engine does, from a thread of its own."""
    groups, stopped = two_groups(), threading.Event()

    def turn() -> None:
        while not stopped.wait(0.005):
            tables.serve(groups)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def get(server: OpsServer, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture
def tables() -> HeldTables:
    app = App("shop")
    app.table("seen", int)
    return HeldTables(app.plan(), patience_s=1)


@pytest.fixture
def server(tables: HeldTables) -> Generator[OpsServer]:
    with OpsServer(PrometheusObserver("shop"), Health(), tables=tables) as server:
        yield server


def test_tables_are_listed_with_the_records_of_each_partition(tables: HeldTables, server: OpsServer) -> None:
    seen = {"table": "seen", "store": "memory", "records": 3, "partitions": {"1": 3, "3": 0}}
    with serving(tables):
        assert get(server, "/tables") == (200, {"tables": [seen]})
        assert get(server, "/tables/seen") == (200, seen)
        assert get(server, "/tables/seen/") == (200, seen)


@pytest.mark.parametrize(("path", "value"), [("ann", 1), ("a/b%20c", 2), ("a%2Fb%20c", 2), ("%FF", 3)])
def test_a_key_shows_its_committed_value(tables: HeldTables, server: OpsServer, path: str, value: int) -> None:
    with serving(tables):
        assert get(server, f"/tables/seen/{path}") == (200, {"table": "seen", "partition": 1, "value": value})


def test_what_is_not_there_is_not_found(tables: HeldTables, server: OpsServer) -> None:
    with serving(tables):
        assert get(server, "/tables/seen/bob")[0] == 404
        assert get(server, "/tables/nothing")[0] == 404
        assert get(server, "/tables/nothing/ann")[0] == 404
        assert get(server, "/tablesque")[0] == 404


def test_a_busy_engine_is_told_after_a_while(tables: HeldTables, server: OpsServer) -> None:
    status, body = get(server, "/tables")
    assert status == 503
    assert "busy" in body["error"]
    with serving(tables):
        assert get(server, "/tables")[0] == 200


def test_tables_are_not_shown_unless_they_are_exposed() -> None:
    with OpsServer(PrometheusObserver("shop"), Health()) as server:
        status, body = get(server, "/tables")
    assert status == 404
    assert "/tables" not in body["error"]
