"""Tables on disk and global tables on a real broker: stopped, killed, and looked into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.testing.checks import read_topic
from tests.integration.apps import stores
from tests.integration.running import Input, Running, create_topics, send
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

KEYS = [f"user{number}" for number in range(2_000)]


def orders(keys: list[str], currency: str = "EUR") -> list[Input]:
    return [Input({"user": key, "currency": currency}, key.encode(), partition=len(key) % 2) for key in keys]


def paid(brokers: str, app: str) -> list[float]:
    """Return what was paid, in euros, as a ``read_committed`` reader sees it."""
    return [json.loads(record.value or b"")["euros"] for record in read_topic(brokers, f"{app}.paid")]


@pytest.fixture
def environment(brokers: str, topic_name: str, tmp_path: Path) -> dict[str, str]:
    return {
        "STORES_APP": topic_name,
        "STREAMSERVE_BOOTSTRAP_SERVERS": brokers,
        "STREAMSERVE_STATE_DIR": str(tmp_path / "state"),
        "STREAMSERVE_INSTANCE": "w0",
        "STREAMSERVE_EXPOSE_TABLES": "true",
    }


@contextmanager
def worker(environment: Mapping[str, str]) -> Generator[subprocess.Popen[str]]:
    """Run the app in a process of its own; kill it at the end, if it still runs."""
    command = [sys.executable, "-m", "streamserve", "run", "tests.integration.apps.stores:app", "--json-logs"]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Return the first log line of ``event``."""
    for line in process.stdout or ():
        found = json.loads(line)
        if found["event"] == event:
            return found
    raise AssertionError(f"the worker ended before it told of {event!r}")


def counts(brokers: str, app: str) -> dict[str, int]:
    """Fold the changelog by hand."""
    folded: dict[str, int] = {}
    for record in read_topic(brokers, f"{app}-seen-changelog"):
        folded[(record.key or b"").decode()] = json.loads((record.value or b"0" * 10)[9:])
    return folded


def until(folded: Mapping[str, int], brokers: str, app: str) -> None:
    deadline = time.monotonic() + 60
    while (found := counts(brokers, app)) != folded:
        assert time.monotonic() < deadline, f"{len(found)} keys, {sum(found.values())} counted"
        time.sleep(0.2)


def test_a_table_on_disk_survives_a_stop_with_its_tail_and_a_kill_by_being_rebuilt(
    brokers: str, topic_name: str, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    app = stores.make_app(topic_name)
    create_topics(app, brokers, partitions=2)
    send(brokers, f"{topic_name}.rates", [Input({"currency": "EUR", "euros": 1.0}, b"EUR")])
    send(brokers, f"{topic_name}.orders", orders(KEYS))
    marker = tmp_path / "state" / topic_name / "w0" / "seen-1" / "clean"
    with worker(environment) as first:
        until(dict.fromkeys(KEYS, 1), brokers, topic_name)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
    assert marker.exists()
    with worker(environment) as second:
        send(brokers, f"{topic_name}.orders", orders(KEYS))
        until(dict.fromkeys(KEYS, 2), brokers, topic_name)
        assert not marker.exists()
        second.kill()
        second.wait(60)
    send(brokers, f"{topic_name}.orders", orders(KEYS[:10]))
    settings: dict[str, Any] = {"instance": "w0", "state_dir": tmp_path / "state"}
    with Running(app, brokers, **settings) as third:
        third.until_committed(10)
    assert third.recorder.restored_records >= len(KEYS), "unclean: all of it"
    assert counts(brokers, topic_name) == {**dict.fromkeys(KEYS, 2), **dict.fromkeys(KEYS[:10], 3)}
    with Running(app, brokers, **settings) as fourth:
        fourth.until_ready()
    assert fourth.recorder.restored_records < 20, "clean: the last transaction at most"


def test_a_group_that_is_given_away_leaves_a_clean_store_which_serves_when_it_comes_back(
    brokers: str, topic_name: str, tmp_path: Path
) -> None:
    app = stores.make_app(topic_name)
    create_topics(app, brokers, partitions=2)
    send(brokers, f"{topic_name}.rates", [Input({"currency": "EUR", "euros": 1.0}, b"EUR")])
    send(brokers, f"{topic_name}.orders", orders(KEYS))
    settings: dict[str, Any] = {"state_dir": tmp_path, "session_timeout": "6s"}
    with Running(app, brokers, instance="w0", **settings) as first:
        first.until_committed(len(KEYS))
        with Running(stores.make_app(topic_name), brokers, instance="w1", **settings) as second:
            second.until_ready()
            send(brokers, f"{topic_name}.orders", orders(KEYS))
            until(dict.fromkeys(KEYS, 2), brokers, topic_name)
            markers = list((tmp_path / topic_name / "w0").glob("*/clean"))
            assert len(markers) == 1, "that of the group that left"
            first.recorder.restored_records = 0
        send(brokers, f"{topic_name}.orders", orders(KEYS))
        until(dict.fromkeys(KEYS, 3), brokers, topic_name)
        assert 0 < first.recorder.restored_records < 2 * len(KEYS), "what the other has written, and no more"


def test_a_global_table_is_loaded_first_and_followed(brokers: str, topic_name: str, tmp_path: Path) -> None:
    app = stores.make_app(topic_name)
    create_topics(app, brokers, partitions=2)
    rates = [Input({"currency": f"C{number}", "euros": number}, f"C{number}".encode()) for number in range(1000)]
    send(brokers, f"{topic_name}.rates", rates)
    send(brokers, f"{topic_name}.orders", orders(["ann"], "C999"))
    with Running(app, brokers, state_dir=tmp_path) as running:
        running.until_committed(1)
        send(brokers, f"{topic_name}.rates", [Input({"currency": "NEW", "euros": 7}, b"NEW")])

        def bob_pays() -> bool:
            send(brokers, f"{topic_name}.orders", orders(["bob"], "NEW"))
            return 7 in paid(brokers, topic_name)

        wait_until(bob_pays, "a rate that came later")
    assert set(paid(brokers, topic_name)) == {7, 999}


def test_tables_are_shown_over_http_and_on_the_command_line(
    brokers: str, topic_name: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = stores.make_app(topic_name)
    create_topics(app, brokers, partitions=2)
    send(brokers, f"{topic_name}.rates", [Input({"currency": "EUR", "euros": 1.0}, b"EUR")])
    send(brokers, f"{topic_name}.orders", orders(KEYS[:30]))
    with worker(environment) as process:
        port = int(told(process, "started")["http"].rpartition(":")[2])
        until(dict.fromkeys(KEYS[:30], 1), brokers, topic_name)
        [table] = get(port, "tables")["tables"]
        assert (table["table"], table["store"], table["partitions"].keys()) == ("seen", "disk", {"0", "1"})
        assert get(port, "tables/seen/user7")["value"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "tests.integration.apps.stores")
    command = ["tables", "show", "tests.integration.apps.stores:app", "seen"]
    shown = CliRunner().invoke(main, [*command, "--key", "user7", "--json"])
    assert json.loads(shown.stdout) == {"table": "seen", "keys": 1, "values": {"user7": 1}}
    limited = CliRunner().invoke(main, [*command, "--limit", "3"])
    assert ("user0" in limited.stdout, "user7" in limited.stdout) == (True, False)
    assert CliRunner().invoke(main, [*command, "--key", "nobody"]).exit_code == 1


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return json.load(answer)
