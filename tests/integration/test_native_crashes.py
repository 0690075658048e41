"""A record that ends the process natively is found across restarts; what hangs is named, and ended in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamserve.ops.crashes import ALONE
from streamserve.testing.checks import read_topic
from tests.integration.running import Input, send, values
from tests.integration.waiting import free_ports, ready, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

APP = """
import ctypes
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import bytewax.operators as op
import msgspec

from streamserve import App, Batch, Stream


class Number(msgspec.Struct, frozen=True):
    n: int


app = App("{name}")
numbers = app.topic("{name}.in", Number, key="n")
doubles = app.topic("{name}.out", Number, key="n")
others = app.topic("{name}.other", Number, key="n")


{double}


def doubled(number: Number) -> Number:
    while Path("hold").exists() and number.n == 77:
        time.sleep(0.02)
    if number.n == -1:
        native_code()
    return Number(2 * number.n)


@app.batch_agent(numbers, to=others)
def copy(batch: Batch[Number]) -> Sequence[Number]:
    return list(batch)


def native_code() -> None:
    ctypes.string_at(0)
"""

AGENT = """
@app.agent(numbers, to=doubles)
async def double(stream: Stream[Number]) -> AsyncIterator[Number]:
    async for number in stream:
        yield doubled(number)
"""

BATCH_AGENT = """
@app.batch_agent(numbers, to=doubles)
def double(batch: Batch[Number]) -> Sequence[Number]:
    return [doubled(number) for number in batch]
"""

OPERATORS = """
@app.dataflow(numbers, to=doubles)
def double(records):
    return op.map("doubled", records, lambda record: doubled(record.value))
"""


class Crashing:
    """An app in a folder, ``double`` written in one way or another, and the command line that runs it."""

    def __init__(self, folder: Path, name: str, brokers: str) -> None:
        self.name, self.folder, self.brokers = name, folder, brokers
        self.write(BATCH_AGENT)

    def write(self, double: str) -> None:
        (self.folder / "crashing.py").write_text(APP.format(name=self.name, double=double))

    @contextmanager
    def running(self, *arguments: str, **settings: str) -> Generator[subprocess.Popen[bytes]]:
        """Run the app beside the block."""
        given = {"bootstrap_servers": self.brokers, "state_dir": str(self.folder / "state"), **settings}
        environment = {**os.environ, **{f"STREAMSERVE_{name.upper()}": value for name, value in given.items()}}
        command = [sys.executable, "-m", "streamserve", "run", "crashing:app", "--create-topics", *arguments]
        with (self.folder / "run.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text()

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines about ``event``."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def count(self, topic: str) -> int:
        return len(read_topic(self.brokers, f"{self.name}{topic}"))


@pytest.fixture
def app(tmp_path: Path, topic_name: str, brokers: str) -> Crashing:
    return Crashing(tmp_path, topic_name[-40:].lstrip("-"), brokers)


def health(port: int) -> tuple[int, Mapping[str, Any]]:
    """Return what ``/healthz`` says; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)
    except OSError:
        return 0, {}


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("double", [AGENT, BATCH_AGENT, OPERATORS], ids=["agent", "batch", "operators"])
def test_one_record_of_thousands_that_segfaults_becomes_a_dead_letter(app: Crashing, double: str) -> None:
    """The first death names nobody, the second a piece, the others the record: then it is set aside, and only it."""
    app.write(double)
    poison = 3_333
    records = [Input({"n": -1 if n == poison else n}, partition=n % 4) for n in range(5_000)]
    port = free_ports(2)
    with app.running("--workers", "2", "--http-port", str(port), session_timeout="45s") as supervisor:
        wait_until(lambda: ready(port) and ready(port + 1), "two workers that are ready")
        send(app.brokers, f"{app.name}.in", records)
        wait_until(
            lambda: app.count("-dead-letters") == 1 and app.count(".out") == 4_999,
            "one dead letter, all else doubled",
            120,
        )
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(30) == 0
    good = [n for n in range(5_000) if n != poison]
    assert sorted(value["n"] for value in values(app.brokers, f"{app.name}.out")) == [2 * n for n in good]
    assert sorted(value["n"] for value in values(app.brokers, f"{app.name}.other")) == [-1, *good]
    [letter] = read_topic(app.brokers, f"{app.name}-dead-letters")
    headers = dict(letter.headers)
    assert json.loads(letter.value or b"") == {"n": -1}
    assert (headers["reason"], headers["step"]) == (b"crashed", b"double")
    assert (headers["source-partition"], headers["source-offset"]) == (b"1", b"833")
    assert app.log.count("SIGSEGV") == 2 * (2 + ALONE)  # "crashed" and "restarting", each time
    assert any("in native_code" in line for line in app.told("crashed before")[0]["stack"])
    assert not list((app.folder / "state").rglob("trace"))


def test_a_stall_is_named_and_over_when_the_engine_goes_on(app: Crashing) -> None:
    port = free_ports(1)
    with app.running("--http-port", str(port), stall_timeout="2s") as worker:
        wait_until(lambda: ready(port), "a worker that is ready")
        (app.folder / "hold").touch()
        send(app.brokers, f"{app.name}.in", [Input({"n": n}, partition=2) for n in (77,)])
        wait_until(lambda: health(port)[0] == 503 and bool(app.told("stalled")), "a stall that is told")
        _, red = health(port)
        assert (red["doing"], red["at"]) == (["agent double"], [f"{app.name}.in[2]@0"])
        assert any(line.endswith("in double") for line in red["stack"])
        [told] = app.told("stalled")
        assert (told["doing"], told["at"]) == (red["doing"], red["at"])
        series = f'agent="double",call="agent double",offset="0",partition="2",topic="{app.name}.in"'
        wait_until(
            lambda: series in metrics(port) and "streamserve_stalled 1.0" in metrics(port), "metrics of the stall"
        )
        (app.folder / "hold").unlink()
        wait_until(lambda: health(port)[0] == 200 and bool(app.told("goes on")), "the end of the stall")
        wait_until(lambda: app.count(".out") == 1, "one double")
        assert "streamserve_stalled 0.0" in metrics(port)
        assert "streamserve_stalled_seconds{" not in metrics(port)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


def test_a_stall_without_end_ends_the_process_for_its_supervisor(app: Crashing) -> None:
    port = free_ports(1)
    with app.running("--http-port", str(port), stall_timeout="2s", stall_restart="4s") as worker:
        wait_until(lambda: ready(port), "a worker that is ready")
        (app.folder / "hold").touch()
        send(app.brokers, f"{app.name}.in", [Input({"n": 77}, partition=0)])
        assert worker.wait(60) == 1
        assert [told["doing"] for told in app.told("stalled for too long: the process ends")] == [["agent double"]]
    (app.folder / "hold").unlink()
    with app.running("--http-port", str(port)) as worker:
        wait_until(lambda: app.count(".out") == 1, "one double")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
