"""Round after round: every engine once in each, in an order that turns round each time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias
from uuid import uuid4

import msgspec

from tests.benchmarks.compare.engines import ENGINES
from tests.benchmarks.compare.environments import Unavailable
from tests.benchmarks.compare.job import write_features
from tests.benchmarks.compare.outputs import expected
from tests.benchmarks.compare.trials import (
    Contender,
    Place,
    Throughput,
    TrialFailed,
    create_topic,
    measure_latency,
    measure_throughput,
)
from tests.benchmarks.latency import Latency
from tests.benchmarks.workload import load_numbered

_FEWEST_EVENTS = 5000
_WARM_UP_SHARE = 0.25
"""What an engine scores before its latency counts, as a share of the events that it gets for its throughput."""

Tell: TypeAlias = Callable[[str], None]
"""Takes a line about the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure: ``events`` of throughput by an engine whose share is 1, ``seconds`` of latency at each rate."""

    engines: Sequence[str]
    events: int
    rounds: int
    rates: Sequence[int]
    seconds: float


class Round(msgspec.Struct, frozen=True):
    """What each engine did in one round, by name; latency by events a second."""

    throughput: Mapping[str, Throughput]
    latency: Mapping[str, Mapping[int, Latency]]


@dataclass(frozen=True, slots=True)
class Found:
    """All rounds, who took part, and why others did not."""

    rounds: Sequence[Round]
    contenders: Mapping[str, Contender]
    left_out: Mapping[str, str]


def run(brokers: str, plan: Plan, tell: Tell) -> Found:
    """Make engines ready, load events and measure.

    Raises:
        TrialFailed: an engine did not do the job, or its predictions are not those that the others have.
    """
    contenders, left_out = ready(plan, tell)
    if not contenders:
        raise TrialFailed(f"no engine can run here: {left_out}")
    with TemporaryDirectory(prefix="streamserve-compare-") as folder:
        place = _place(brokers, {item.events for item in contenders.values()}, Path(folder), tell)
        tell("warming up the broker")
        measure_throughput(next(iter(contenders.values())), place)
        rounds = [_round(contenders, place, plan, number, tell) for number in range(plan.rounds)]
    return Found(rounds, contenders, left_out)


def ready(plan: Plan, tell: Tell) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return the engines that can run here, and why the others can't."""
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    for name in plan.engines:
        tell(f"making {name} ready")
        try:
            program = ENGINES[name].prepare()
        except Unavailable as error:
            left_out[name] = str(error)
            tell(f"{name} is left out: {error}")
        else:
            contenders[name] = Contender(name, ENGINES[name], program, events_for(plan.events, ENGINES[name].share))
    return contenders, left_out


def events_for(events: int, share: float) -> int:
    """Return how many events an engine gets.

    >>> events_for(1_000_000, 0.3), events_for(100_000, 0.03)
    (300000, 5000)
    """
    return max(round(events * share), _FEWEST_EVENTS)


def order_of(names: Sequence[str], number: int) -> Sequence[str]:
    """Return the order of round ``number``: forward, backward, so that a machine's drift cancels.

    >>> order_of(["a", "b"], 0), order_of(["a", "b"], 1)
    (['a', 'b'], ['b', 'a'])
    """
    return names[::-1] if number % 2 else names


def _place(brokers: str, counts: set[int], folder: Path, tell: Tell) -> Place:
    sources = {count: f"compare-in-{uuid4().hex[:8]}" for count in sorted(counts)}
    for count, topic in sources.items():
        tell(f"writing {count:,} events")
        create_topic(brokers, topic)
        load_numbered(brokers, topic, range(count))
    truth = {count: expected(count) for count in counts}
    return Place(brokers=brokers, features=write_features(folder), sources=sources, truth=truth)


def _round(contenders: Mapping[str, Contender], place: Place, plan: Plan, number: int, tell: Tell) -> Round:
    title = f"round {number + 1}/{plan.rounds}"
    throughput: dict[str, Throughput] = {}
    latency: dict[str, Mapping[int, Latency]] = {}
    for name in order_of(list(contenders), number):
        throughput[name] = found = measure_throughput(contenders[name], place)
        tell(f"{title}: {name} {found.per_second:,.0f} records/s, {found.cpu_us:.2f} µs of CPU")
    for name in order_of(list(contenders), number) if plan.rates else ():
        latency[name] = _latency(contenders[name], place, plan)
        shown = ", ".join(f"{rate:,}/s p50 {at.p50:.1f} p99 {at.p99:.1f} ms" for rate, at in latency[name].items())
        tell(f"{title}: {name} at {shown}")
    return Round(throughput, latency)


def _latency(contender: Contender, place: Place, plan: Plan) -> dict[int, Latency]:
    warm_up_events = round(contender.events * _WARM_UP_SHARE)
    return measure_latency(contender, place, plan.rates, seconds=plan.seconds, warm_up_events=warm_up_events)
