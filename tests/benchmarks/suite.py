"""All measurements in turn, each in a fresh process, round after round on the same events."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TypeAlias

import msgspec

from streamserve.errors import StreamserveError
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.settings import load_settings
from tests.benchmarks import latency
from tests.benchmarks.meter import Measurement
from tests.benchmarks.report import PROGRAMS, SERVING, Round
from tests.benchmarks.workload import PARTITIONS, load

ROOT = Path(__file__).parents[2]
_SHARE = 0.9
"""What is scored of the events: the end of a topic, where batches shrink, is left out."""
_WARM_UP_SHARE = 0.1
"""What the hand loop scores, uncounted, before the first round."""
_WARM_UP_LEAST = 90_000
"""A goal that one commit reaches is refused; the suite has at least 100,000 events."""
_DEADLINE_S = 300.0
LATENCY_SECONDS = 8.0
"""How long latency is measured."""
_UNCOUNTED = 3 / 8
"""The share of that time at its beginning which does not count."""
_WARM_UP = 2.5
"""Times as long before: a broker's Java code compiles itself during its first half minute of small transactions, and
latency falls by half."""

Tell: TypeAlias = Callable[[str], None]
"""Takes a line about the progress."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a program is to do: score ``goal`` records of ``source`` into ``target``."""

    brokers: str
    source: str
    target: str
    goal: int
    feature_repo: Path | None = None


class BenchError(StreamserveError):
    """A measured program failed, so there is nothing to report."""


def run_suite(brokers: str, *, events: int, rounds: int, tell: Tell, latency_s: float = LATENCY_SECONDS) -> list[Round]:
    """Load ``events`` events into a topic of their own and measure everything ``rounds`` times.

    Raises:
        BenchError: a measured program failed; the text holds what it said last.
    """
    suffix = uuid.uuid4().hex[:8]
    source, target = f"bench-in-{suffix}", f"bench-out-{suffix}"
    create_topics(brokers, source, target)
    with TemporaryDirectory(prefix="streamserve-bench-") as folder:
        repo = Path(folder) / "features"
        tell("filling the feature repository")
        _run_child("feature-repo", str(repo))
        tell(f"writing {events:,} events")
        load(brokers, source, events)
        tell("warming up the broker, which is as if it had run for a while when latency is measured")
        measure_latency(brokers, "score", seconds=_WARM_UP * latency_s)
        measure("hand_loop", Job(brokers, source, target, max(int(events * _WARM_UP_SHARE), _WARM_UP_LEAST)))
        job = Job(brokers, source, target, int(events * _SHARE), repo)
        return [_round(job, number, f"round {number + 1}/{rounds}", tell, latency_s) for number in range(rounds)]


def programs_in(number: int) -> Sequence[str]:
    """Return the programs in the order of round ``number``: forward, backward, so that a machine's drift cancels.

    >>> programs_in(0) == programs_in(1)[::-1] == programs_in(2) == PROGRAMS
    True
    """
    return PROGRAMS[::-1] if number % 2 else PROGRAMS


def _round(job: Job, number: int, title: str, tell: Tell, latency_s: float) -> Round:
    measured: dict[str, Measurement] = {}
    for program in programs_in(number):
        measured[program] = measure(program, job)
        tell(f"{title}: {program} {measured[program].per_second:,.0f} records/s")
    delays: dict[str, latency.Latency] = {}
    for program in SERVING[::-1] if number % 2 else SERVING:
        delays[program] = found = measure_latency(job.brokers, program, seconds=latency_s)
        tell(f"{title}: {program} latency p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms")
    return Round(measured, delays["score"], delays["hand_loop"])


def measure(program: str, job: Job) -> Measurement:
    """Measure one of ``PROGRAMS`` in a process of its own.

    Raises:
        BenchError: it failed.
    """
    options = ["--brokers", job.brokers, "--source", job.source, "--target", job.target, "--goal", str(job.goal)]
    if program == "feast" and job.feature_repo is not None:
        options += ["--feature-repo", str(job.feature_repo)]
    return msgspec.json.decode(_run_child("measure", program, *options), type=Measurement)


def measure_latency(
    brokers: str, program: str, *, rate: int = 1000, seconds: float = LATENCY_SECONDS
) -> latency.Latency:
    """Start one of ``SERVING`` on topics of its own and measure; see ``latency.measure``."""
    suffix = uuid.uuid4().hex[:8]
    source, target = f"bench-in-{suffix}", f"bench-out-{suffix}"
    create_topics(brokers, source, target)
    with _serving(program, brokers, source, target):
        try:
            uncounted_s = _UNCOUNTED * seconds
            return latency.measure(brokers, source, target, rate=rate, seconds=seconds, warm_up_s=uncounted_s)
        except latency.LatencyError as error:
            raise BenchError(f"latency: {error}") from error


@contextmanager
def _serving(program: str, brokers: str, source: str, target: str) -> Generator[None]:
    """Run ``program`` in a process that ends when its standard input does."""
    options = ["--brokers", brokers, "--source", source, "--target", target]
    with (
        TemporaryFile() as said,
        subprocess.Popen(
            _command("serve", program, *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=ROOT
        ) as child,
    ):
        if child.stdout is None or child.stdin is None or child.stdout.readline() != b"ready\n":
            said.seek(0)
            raise _failed("serve", said.read())
        try:
            yield
        finally:
            child.stdin.close()
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()


def _run_child(*arguments: str) -> bytes:
    """Run one part in a fresh process and return the last line that it printed."""
    try:
        done = subprocess.run(_command(*arguments), capture_output=True, cwd=ROOT, timeout=_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _failed(f"{arguments[0]} ({_DEADLINE_S:.0f} s passed)", error.stderr or b"") from error
    if done.returncode:
        raise _failed(" ".join(arguments[:2]), done.stderr)
    return (done.stdout.splitlines() or [b""])[-1]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks", *arguments]


def _failed(what: str, said: bytes) -> BenchError:
    return BenchError(f"benchmark part {what!r} failed: {said.decode(errors='replace').strip()[-2000:]}")


def create_topics(brokers: str, *topics: str) -> None:
    """Create topics of two partitions and wait until the broker has them."""
    admin = Admin(load_settings(command_line={"bootstrap_servers": brokers}))
    admin.create([TopicSpec(topic, PARTITIONS, {}, "benchmark") for topic in topics], partitions=PARTITIONS)
    while missing := set(topics) - admin.partitions().keys():
        time.sleep(0.05 * len(missing))
