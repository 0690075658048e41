"""The judgements of a soak: workers of one age early and late in it, and the latency of its first and last span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypeVar

import msgspec

from tests.integration.evidence.soak.processes import Sample
from tests.integration.evidence.soak.reader import Latency

__all__ = ["Aged", "Judgement", "aged", "judge"]

MEMORY_GROWTH = 0.05
LATENCY_GROWTH = 2.0

T = TypeVar("T", int, float)


class Aged(msgspec.Struct, frozen=True, kw_only=True):
    """What processes of one worker took at one age: medians over those that reached it in one part of the soak."""

    worker: int
    part: str
    processes: int
    age_s: float
    resident_mb: float
    descriptors: float
    threads: float


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold, whether it does, and the figures."""

    what: str
    holds: bool
    found: str


def aged(
    samples: Sequence[Sample], killed: Iterable[int], *, early_s: float, late_s: float, around_s: float
) -> list[Aged]:
    """Return what workers that are ``killed`` again and again took around two moments of the soak.

    All at the greatest age that a process of theirs has reached around either.
    """
    found: list[Aged] = []
    for worker in killed:
        own = [one for one in samples if one.worker == worker]
        parts = {
            "early": _oldest(one for one in own if abs(one.at_s - early_s) <= around_s),
            "late": _oldest(one for one in own if abs(one.at_s - late_s) <= around_s),
        }
        if all(parts.values()):
            age = min(max(one.age_s for one in lives) for lives in parts.values())
            found += [_summed(worker, part, own, lives, age) for part, lives in parts.items()]
    return found


def _oldest(samples: Iterable[Sample]) -> list[Sample]:
    """Return the last sample of each process."""
    lives: dict[float, Sample] = {}
    for one in samples:
        born = one.at_s - one.age_s
        same = next((other for other in lives if abs(other - born) < 1), born)
        lives[same] = one
    return list(lives.values())


def _summed(worker: int, part: str, samples: Sequence[Sample], lives: Sequence[Sample], age: float) -> Aged:
    """Return the medians of processes as they were at one age."""
    births = [one.at_s - one.age_s for one in lives if one.age_s >= age]
    at_age = [
        min((one for one in samples if abs(one.at_s - one.age_s - born) < 1), key=lambda one: abs(one.age_s - age))
        for born in births
    ]
    return Aged(
        worker=worker,
        part=part,
        processes=len(at_age),
        age_s=age,
        resident_mb=median(one.resident_mb for one in at_age),
        descriptors=median(one.descriptors for one in at_age),
        threads=median(one.threads for one in at_age),
    )


def judge(ages: Sequence[Aged], latencies: Sequence[Latency]) -> list[Judgement]:
    """Hold late against early: memory within 5 %, descriptors and threads equal, p99 within twice."""
    pairs = [
        (early, late)
        for early in ages
        for late in ages
        if (early.worker, early.part, late.part) == (late.worker, "early", "late")
    ]
    growths = [late.resident_mb / early.resident_mb - 1 for early, late in pairs]
    counts = [((early.descriptors, early.threads), (late.descriptors, late.threads)) for early, late in pairs]
    slower = latencies[-1].p99 / latencies[0].p99 if latencies else float("inf")
    return [
        Judgement(
            what="resident memory of workers of one age: late within 5 % of early",
            holds=bool(growths) and all(abs(growth) <= MEMORY_GROWTH for growth in growths),
            found=", ".join(f"{growth:+.1%}" for growth in growths) or "no two workers of one age",
        ),
        Judgement(
            what="their file descriptors and threads: equal",
            holds=bool(counts) and all(early == late for early, late in counts),
            found=", ".join(f"{early} and {late}" for early, late in counts) or "no two workers of one age",
        ),
        Judgement(
            what="latency p99: last span within twice the first",
            holds=slower <= LATENCY_GROWTH,
            found=f"{slower:.2f} times",
        ),
    ]
