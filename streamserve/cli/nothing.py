"""Why there is nothing to read, and what to do about it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings

__all__ = ["why_nothing"]

_COUNTED = 10_000
"""So many dead letters are counted: who has more wants to know why, not how many."""


def why_nothing(name: str, plan: Plan, topic: str, settings: Settings, brokers: str | None) -> str:
    """Return what an empty topic of the app ``name`` means, and what would come there."""
    reasons = {
        plan.dead_letter_topic: "no record was set aside",
        plan.drift_topic: "statistics come once event time has passed the end of a window"
        f" ({_windows(plan)}), alarms at once",
        plan.performance_topic: "outcomes come with labels, metrics once event time has passed the end of a window",
        plan.features_topic: "rows come with the events that use them, in the share that log= says",
    }
    idle = "nothing was written, or what was is past the topic's retention"
    why = f"nothing is there: {reasons.get(topic, idle)}"
    is_written = any(topic in agent.outputs for agent in plan.agents)
    dead = _count_dead_letters(plan, settings) if is_written else 0
    return f"{why}. {_told(dead, name, brokers)}" if dead else why


def _windows(plan: Plan) -> str:
    from streamserve.durations import in_words

    return ", ".join(sorted({in_words(node.window_ms) for node in plan.monitors}))


def _count_dead_letters(plan: Plan, settings: Settings) -> int:
    """Return how many there are, and one more than ``_COUNTED`` for more than that; none where the topic is not."""
    from streamserve.errors import TopicError
    from streamserve.kafka.browsing import browsing

    try:
        with browsing(plan.app, plan.dead_letter_topic, settings) as browser:
            return sum(1 for _ in islice(browser.read("beginning"), _COUNTED + 1))
    except TopicError:
        return 0


def _told(dead: int, name: str, brokers: str | None) -> str:
    """Return how many dead letters there are instead, and how to read them.

    >>> _told(1, "rides:app", None)
    "There is 1 dead letter: 'streamserve read rides:app dead-letters' says why"
    """
    there_are = "is 1 dead letter" if dead == 1 else f"are {min(dead, _COUNTED):,} dead letters"
    more = " and more" if dead > _COUNTED else ""
    at = "" if brokers is None else f" --brokers {brokers}"
    return f"There {there_are}{more}: 'streamserve read {name} dead-letters{at}' says why"
