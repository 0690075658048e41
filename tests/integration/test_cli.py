"""The commands that need Kafka, against a real one: an app is created, fed, run, looked at and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.waiting import free_ports, ready, wait_until

pytestmark = pytest.mark.broker

APP = """
from collections.abc import AsyncIterator

from pydantic import BaseModel

from streamserve import App, Reject, Stream


class Click(BaseModel):
    user: str
    page: str


class Visit(BaseModel):
    user: str


app = App("{name}")
clicks = app.topic("{name}-clicks", Click, key="user")
visits = app.topic("{name}-visits", Visit, key="user")


@app.agent(clicks, to=visits)
async def note(stream: Stream[Click]) -> AsyncIterator[Visit]:
    async for click in stream:
        if click.page == "bad":
            raise Reject("bad page")
        yield Visit(user=click.user)
"""

USERS = ("u1", "u2", "u3", "u4", "u5")
MURMUR2 = {"u1": 0, "u2": 2, "u3": 2, "u4": 2, "u5": 3}
"""Partitions of four as Kafka's Java client chooses them: ``toPositive(murmur2(key)) % 4``."""


class Project:
    """A folder with an app, and the command line in it."""

    def __init__(self, folder: Path, name: str, brokers: str) -> None:
        self.name = name
        self.folder = folder
        self._environment = {**os.environ, "STREAMSERVE_BOOTSTRAP_SERVERS": brokers}
        (folder / "shop.py").write_text(APP.format(name=name))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "streamserve", *arguments]

    def __call__(self, *arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self._environment | environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    @contextmanager
    def running(self, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
        """Run the app beside the block; its log is in ``log``."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self.command("run", "shop:app", *arguments), cwd=self.folder, env=self._environment, stderr=log
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "run.log"


@pytest.fixture
def project(tmp_path: Path, topic_name: str, brokers: str) -> Project:
    return Project(tmp_path, topic_name[-40:].lstrip("-"), brokers)


def events(page: str = "/") -> str:
    return "".join(json.dumps({"user": user, "page": page}) + "\n" for user in USERS)


def test_topics_are_missing_then_created_then_fine(project: Project) -> None:
    missing = project("topics", "check", "shop:app")
    assert missing.returncode == 1
    assert f"topic '{project.name}-clicks' (read by note) does not exist" in missing.stderr
    created = project.json("topics", "create", "shop:app", "--partitions", "3")["created"]
    assert created == [f"{project.name}-{suffix}" for suffix in ("clicks", "visits", "dead-letters")]
    assert project.json("topics", "create", "shop:app") == {"created": []}
    assert project.json("topics", "check", "shop:app") == {"problems": []}
    assert [topic["partitions"] for topic in project.json("topics", "list", "shop:app")] == [3, 3, 3]


def test_events_go_where_javas_clients_put_them(project: Project) -> None:
    absent = project("send", "shop:app", f"{project.name}-clicks", events().splitlines()[0])
    assert (absent.returncode, "topics create" in absent.stderr) == (1, True)
    project("topics", "create", "shop:app")
    sent = project("send", "shop:app", f"{project.name}-clicks", "--json", text=events())
    places = [json.loads(line) for line in sent.stdout.splitlines()]
    assert {place["key"]: place["partition"] for place in places} == MURMUR2
    by_hand = project("send", "shop:app", f"{project.name}-clicks", events().splitlines()[0], "--key", "u5")
    assert by_hand.stdout == f"{project.name}-clicks[3]@1 key u5\n"


def test_a_worker_drains_on_sigterm_and_leaves_no_lag(project: Project) -> None:
    port = free_ports(1)
    with project.running("--create-topics", "--http-port", str(port)) as worker:
        wait_until(lambda: ready(port), "a worker that is ready")
        project("send", "shop:app", f"{project.name}-clicks", text=events() + events("bad"))
        wait_until(lambda: project.json("lag", "shop:app")["lag"] == 0, "all inputs committed")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    told = [json.loads(line) for line in project.log.read_text().splitlines() if line.startswith("{")]
    assert (told[0]["event"], told[-1]["event"]) == ("started", "stopped")
    assert {line["instance"] for line in told} == {f"{project.name}-{socket.gethostname()}-0"}
    assert sum(line["records"] for line in told if line["event"] == "dead letters") == len(USERS)


def test_two_workers_share_the_partitions_under_one_supervisor(project: Project) -> None:
    port = free_ports(2)
    with project.running("--create-topics", "--workers", "2", "--http-port", str(port)) as supervisor:
        wait_until(lambda: ready(port) and ready(port + 1), "two workers that are ready")
        project("send", "shop:app", f"{project.name}-clicks", text=events())
        wait_until(lambda: project.json("lag", "shop:app")["lag"] == 0, "all inputs committed")
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(60) == 0
    log = project.log.read_text()
    assert log.count("exit status 0") == 2
    assert f"-1: http://127.0.0.1:{port + 1}" in log


def test_a_topic_that_is_missing_is_exit_code_2(project: Project) -> None:
    found = project("run", "shop:app")
    assert found.returncode == 2
    assert "'streamserve topics create shop:app' creates what is missing" in found.stderr
    assert "Traceback" not in found.stderr
    assert project("lag", "shop:app").returncode == 1


def test_a_broker_that_is_away_is_exit_code_1_after_the_deadline(project: Project) -> None:
    found = project("run", "shop:app", "--brokers", "127.0.0.1:1", STREAMSERVE_SHUTDOWN_TIMEOUT="1s")
    assert found.returncode == 1
    assert "No answer from Kafka at 127.0.0.1:1" in found.stderr
    assert "Traceback" not in found.stderr
