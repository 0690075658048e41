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
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from streamserve.cli import main
from streamserve.ops.crashes import ALONE
from streamserve.testing.checks import read_topic
from tests.integration.driving import FORKS
from tests.integration.running import Input, send, values
from tests.integration.waiting import pages, ready, wait_until

pytestmark = pytest.mark.broker

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


COMMAND = ("run", "crashing:app", "--create-topics")


class Crashing:
    """An app in a folder, ``double`` written in one way or another, and the command line that runs it."""

    def __init__(self, folder: Path, name: str, brokers: str) -> None:
        self.name, self.folder, self.brokers = name, folder, brokers
        self.write(BATCH_AGENT)

    def write(self, double: str) -> None:
        (self.folder / "crashing.py").write_text(APP.format(name=self.name, double=double))

    def environment(self, **settings: str) -> dict[str, str]:
        """Return what tells a worker its settings."""
        given = {"bootstrap_servers": self.brokers, "state_dir": str(self.folder / "state"), **settings}
        return {f"STREAMSERVE_{name.upper()}": value for name, value in given.items()}

    @contextmanager
    def running(self, workers: int = 1, **settings: str) -> Generator[subprocess.Popen[bytes]]:
        """Run the app beside the block, which begins when all of its workers are ready."""
        command = [sys.executable, "-m", "streamserve", *COMMAND, "--workers", str(workers), "--json-logs"]
        environment = {**os.environ, **self.environment(**settings)}
        with self.log_file.open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
            try:
                wait_until(lambda: self.ready_workers == workers, f"{workers} ready", alive=lambda: _runs(process))
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def fork(self) -> ForkServerProcess:
        """Start a worker without a supervisor, in a process that need not import the engine first."""
        process = FORKS.Process(target=be_worker, args=(self.folder, self.environment()))
        process.start()
        return process

    @property
    def log_file(self) -> Path:
        return self.folder / "run.log"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def pages(self) -> str:
        """Return the address of the worker's pages."""
        return pages(self.log_file)[-1]

    @property
    def ready_workers(self) -> int:
        return sum(map(ready, pages(self.log_file)))

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines about ``event``."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def count(self, topic: str) -> int:
        return len(read_topic(self.brokers, f"{self.name}{topic}"))


@pytest.fixture
def app(tmp_path: Path, topic_name: str, brokers: str) -> Crashing:
    return Crashing(tmp_path, topic_name[-40:].lstrip("-"), brokers)


def _runs(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


def be_worker(folder: Path, environment: Mapping[str, str]) -> None:
    """Be ``streamserve run`` in ``folder``."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ.update(environment)
    with (folder / "run.log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    main([*COMMAND, "--json-logs"])


def health(pages: str) -> tuple[int, Mapping[str, Any]]:
    """Return what ``/healthz`` says; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"{pages}/healthz", timeout=10) as answer:  # noqa: S310 - a worker's, on loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)
    except OSError:
        return 0, {}


def metrics(pages: str) -> str:
    with urllib.request.urlopen(f"{pages}/metrics", timeout=10) as answer:  # noqa: S310 - a worker's, on loopback
        return str(answer.read().decode())


POISON = 3_333
GOOD = [n for n in range(5_000) if n != POISON]
DEATHS = 2 + ALONE
"""The first death names nobody, the second a piece, the others the record: then it is set aside."""


def send_thousands(app: Crashing) -> None:
    records = [Input({"n": -1 if n == POISON else n}, partition=n % 4) for n in range(5_000)]
    send(app.brokers, f"{app.name}.in", records)


def is_over(app: Crashing) -> bool:
    """Return whether the record was found, and all others are doubled."""
    found = bool(app.told("record set aside that ends the process"))  # topics are read from then on only
    return found and app.count("-dead-letters") == 1 and app.count(".out") == len(GOOD)


def assert_one_record_was_set_aside(app: Crashing) -> None:
    assert sorted(value["n"] for value in values(app.brokers, f"{app.name}.out")) == [2 * n for n in GOOD]
    assert sorted(value["n"] for value in values(app.brokers, f"{app.name}.other")) == [-1, *GOOD]
    [letter] = read_topic(app.brokers, f"{app.name}-dead-letters")
    headers = dict(letter.headers)
    assert json.loads(letter.value or b"") == {"n": -1}
    assert (headers["reason"], headers["step"]) == (b"crashed", b"double")
    assert (headers["source-partition"], headers["source-offset"]) == (b"1", b"833")
    assert any("in native_code" in line for line in app.told("crashed before")[0]["stack"])
    assert not list((app.folder / "state").rglob("trace"))


def test_one_record_of_thousands_that_segfaults_becomes_a_dead_letter_under_a_supervisor(app: Crashing) -> None:
    """Whoever died comes back before its session is over: the other worker never meets the record."""
    app.write(AGENT)
    often = json.dumps({"heartbeat.interval.ms": "1000"})
    with app.running(2, session_timeout="120s", kafka=often) as supervisor:
        send_thousands(app)
        wait_until(lambda: is_over(app), "one dead letter, all else doubled", 240, alive=lambda: _runs(supervisor))
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(60) == 0
    assert_one_record_was_set_aside(app)
    assert app.log.count("SIGSEGV") == 2 * DEATHS  # "crashed" and "restarting", each time


@pytest.mark.parametrize("double", [BATCH_AGENT, OPERATORS], ids=["batch", "operators"])
def test_a_record_that_segfaults_is_found_in_agents_of_other_kinds(app: Crashing, double: str) -> None:
    app.write(double)
    workers = [app.fork()]
    try:
        wait_until(lambda: app.ready_workers == 1, "a worker that is ready", alive=workers[0].is_alive)
        send_thousands(app)
        wait_until(lambda: is_over_after_restarts(app, workers), "one dead letter, all else doubled", 240)
        workers[-1].terminate()
        workers[-1].join(60)
    finally:
        workers[-1].kill()
    assert [worker.exitcode for worker in workers] == [-signal.SIGSEGV] * DEATHS + [0]
    assert_one_record_was_set_aside(app)


def is_over_after_restarts(app: Crashing, workers: list[ForkServerProcess]) -> bool:
    """Start another worker where the last has died."""
    if workers[-1].exitcode == -signal.SIGSEGV:
        workers.append(app.fork())
    assert workers[-1].exitcode is None, workers[-1].exitcode
    return is_over(app)


def test_a_stall_is_named_and_over_when_the_engine_goes_on(app: Crashing) -> None:
    with app.running(stall_timeout="2s") as worker:
        (app.folder / "hold").touch()
        send(app.brokers, f"{app.name}.in", [Input({"n": 77}, partition=2)])
        wait_until(lambda: health(app.pages)[0] == 503 and bool(app.told("stalled")), "a stall that is told")
        _, red = health(app.pages)
        assert (red["doing"], red["at"]) == (["agent double"], [f"{app.name}.in[2]@0"])
        assert any(line.endswith("in double") for line in red["stack"])
        [told] = app.told("stalled")
        assert (told["doing"], told["at"]) == (red["doing"], red["at"])
        series = f'agent="double",call="agent double",offset="0",partition="2",topic="{app.name}.in"'
        wait_until(
            lambda: series in metrics(app.pages) and "streamserve_stalled 1.0" in metrics(app.pages),
            "metrics of the stall",
        )
        (app.folder / "hold").unlink()
        wait_until(lambda: health(app.pages)[0] == 200 and bool(app.told("goes on")), "the end of the stall")
        wait_until(lambda: app.count(".out") == 1, "one double")
        assert "streamserve_stalled 0.0" in metrics(app.pages)
        assert "streamserve_stalled_seconds{" not in metrics(app.pages)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def test_a_stall_without_end_ends_the_process_for_its_supervisor(app: Crashing) -> None:
    with app.running(stall_timeout="2s", stall_restart="4s") as worker:
        (app.folder / "hold").touch()
        send(app.brokers, f"{app.name}.in", [Input({"n": 77}, partition=0)])
        assert worker.wait(60) == 1
        assert [told["doing"] for told in app.told("stalled for too long: the process ends")] == [["agent double"]]
    (app.folder / "hold").unlink()
    with app.running() as worker:
        wait_until(lambda: app.count(".out") == 1, "one double")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
