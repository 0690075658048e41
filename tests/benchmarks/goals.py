"""What the suite is to reach on any machine, and whether a run did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of the report and its bound: a share of the hand loop's speed, or at most so many milliseconds."""

    path: tuple[str, ...]
    bound: float
    is_limit: bool = False

    def judged(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bound, what was measured (the median over rounds) and whether that is enough."""
        measured: Any = report
        for name in self.path:
            measured = measured[name]
        met = measured <= self.bound if self.is_limit else measured >= self.bound
        return {"goal": self.bound, "measured": measured, "met": met}


GOALS = {
    "score_vs_hand_loop": Goal(("score_vs_hand_loop",), 0.70),
    "agent_vs_hand_loop": Goal(("agent_vs_hand_loop",), 0.35),
    "latency_p50_ms": Goal(("latency_ms", "p50"), 8, is_limit=True),
    "latency_p99_ms": Goal(("latency_ms", "p99"), 30, is_limit=True),
}


def judge(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each goal by name with ``goal``, ``measured`` and ``met``.

    >>> report = {"score_vs_hand_loop": 0.8, "agent_vs_hand_loop": 0.3, "latency_ms": {"p50": 8, "p99": 31.5}}
    >>> [name for name, goal in judge(report).items() if not goal["met"]]
    ['agent_vs_hand_loop', 'latency_p99_ms']
    """
    return {name: goal.judged(report) for name, goal in GOALS.items()}


def as_line(goals: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many goals were met, and each that was missed.

    >>> missed = {"goal": 30, "measured": 31.5, "met": False}
    >>> as_line({"score_vs_hand_loop": {"goal": 0.7, "measured": 0.8, "met": True}, "latency_p99_ms": missed})
    'goals: 1 of 2 met; missed: latency_p99_ms 31.5 (at most 30)'
    """
    missed = [_missed(name, goal) for name, goal in goals.items() if not goal["met"]]
    told = f"goals: {len(goals) - len(missed)} of {len(goals)} met"
    return f"{told}; missed: {', '.join(missed)}" if missed else told


def _missed(name: str, goal: Mapping[str, Any]) -> str:
    bound = "at most" if GOALS[name].is_limit else "at least"
    return f"{name} {goal['measured']:g} ({bound} {goal['goal']:g})"
