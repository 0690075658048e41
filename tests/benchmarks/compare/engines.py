"""Who is compared, and how each is run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias

from tests.benchmarks.compare.environments import environment, pinned_version
from tests.benchmarks.compare.maven import build, pom_version

_HERE = Path(__file__).parent
_PROGRAMS = _HERE / "programs"

Guarantee: TypeAlias = Literal["exactly once", "at least once", "its `exactly_once`"]
"""The last is Faust's, which does not hold it: see its program."""


@dataclass(frozen=True, slots=True)
class Program:
    """What starts an engine, and its version."""

    command: Sequence[str]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine and how much of the work it gets; ``prepare`` makes its program ready, which may take minutes.

    ``prepare`` raises ``Unavailable`` where that cannot be done here.
    """

    title: str
    prepare: Callable[[], Program]
    guarantee: Guarantee = "exactly once"
    is_peer: bool = True
    """Whether it is another engine, rather than one of our programs."""
    share: float = 1.0
    """Of the events that a round asks for: slow engines get fewer, those that warm up more."""
    warm_up: float = 0.1
    """The share of its events that comes first and does not count."""
    commit_ms: int = 100
    """How often it commits where throughput is measured."""
    quick_commit_ms: int = 100
    """How often where latency is measured: whatever serves it best. Ours commit as soon as nothing waits."""


def _ours(level: str) -> Callable[[], Program]:
    command = [sys.executable, "-m", "tests.benchmarks.compare.ours", level]
    return lambda: Program(command, version("streamserve"))


def _peer(
    name: str, package: str, *, python: str | None = None, arguments: Sequence[str] = ()
) -> Callable[[], Program]:
    def prepare() -> Program:
        pins = _HERE / "pins" / f"{name}.txt"
        command = [str(environment(name, pins, python)), str(_PROGRAMS / f"{name}_score.py"), *arguments]
        return Program(command, pinned_version(pins, package))

    return prepare


def _kafka_streams() -> Program:
    built = build(_HERE / "kafka_streams")
    command = [str(built.java), "-Xmx1g", "-cp", built.class_path, "compare.Score"]
    return Program(command, pom_version(_HERE / "kafka_streams" / "pom.xml", "kafka-streams"))


ENGINES: Mapping[str, Engine] = {
    "hand_loop": Engine(title="hand-written loop", prepare=_ours("hand_loop"), is_peer=False),
    "score": Engine(title="`app.score`", prepare=_ours("score"), is_peer=False),
    "agent": Engine(title="one-event agent, `msgspec.Struct`", prepare=_ours("agent"), is_peer=False),
    "agent_pydantic": Engine(
        title="one-event agent, pydantic models", prepare=_ours("agent_pydantic"), is_peer=False, share=0.5
    ),
    "kafka_streams": Engine(
        title="Kafka Streams (Java)", prepare=_kafka_streams, share=2.0, warm_up=0.5, quick_commit_ms=5
    ),
    "bytewax": Engine(
        title="Bytewax, its own Kafka connectors",
        prepare=_peer("bytewax", "bytewax"),
        guarantee="at least once",
        share=0.3,
    ),
    "quix": Engine(title="Quix Streams", prepare=_peer("quix", "quixstreams"), share=0.3, quick_commit_ms=5),
    "flechtwerk": Engine(
        title="flechtwerk", prepare=_peer("flechtwerk", "flechtwerk", python="3.13"), share=0.15, quick_commit_ms=5
    ),
    "faust": Engine(
        title="Faust",
        prepare=_peer("faust", "faust-streaming", arguments=("worker", "--without-web", "-l", "error")),
        guarantee="its `exactly_once`",
        share=0.03,
        quick_commit_ms=5,
    ),
}
"""By name, in the order of the tables. Events by share keep a round short: the slowest writes 4,000 a second."""

YARDSTICKS = ("hand_loop", "kafka_streams")
"""Beside whose throughput tables put the others'."""
