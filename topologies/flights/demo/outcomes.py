"""Holds what the app says of its predictions once flights have landed against the predictions and the arrivals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

__all__ = ["LabelOutcome", "Outcomes"]

_NEVER = frozenset({"repeated", "late", "unpredicted"})
"""Arrivals come once, within three days, and after their prediction."""


class LabelOutcome(msgspec.Struct, frozen=True):
    """A value of the performance topic; metrics have another ``kind`` than ``match``."""

    kind: str
    key: str = ""
    status: str = ""
    truth: bool | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of predictions: how many of each status, and score and truth of the matched by flight id.

    ``unlabelled`` has the flights that were given up.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    scores: dict[str, float] = field(default_factory=dict[str, float])
    truths: dict[str, bool] = field(default_factory=dict[str, bool])
    unlabelled: set[str] = field(default_factory=set[str])

    @classmethod
    def of(cls, messages: Iterable[LabelOutcome]) -> Outcomes:
        """Collect the matches among ``messages``."""
        found = cls()
        for message in messages:
            found.add(message)
        return found

    def add(self, match: LabelOutcome) -> None:
        """Take in a value of the topic; metrics are passed over."""
        if match.kind != "match":
            return
        self.counts[match.status] += 1
        if match.status == "unlabelled":
            self.unlabelled.add(match.key)
        elif match.status == "matched" and match.score is not None and match.truth is not None:
            self.scores[match.key], self.truths[match.key] = match.score, match.truth

    def count_mismatches(self, probabilities: Mapping[str, float], labels: Mapping[str, bool]) -> int:
        """Return how many flights were judged otherwise than predictions and arrivals, each by flight id, say.

        Every flight that was predicted and has landed is matched, once; no other is, and none that has landed was
        given up.
        """
        landed = probabilities.keys() & labels.keys()
        expected = {flight: (probabilities[flight], labels[flight]) for flight in landed}
        judged = {flight: (self.scores[flight], truth) for flight, truth in self.truths.items()}
        differing = dict(expected.items() ^ judged.items())
        repeats = self.counts["matched"] - len(judged) + self.counts["unlabelled"] - len(self.unlabelled)
        strange = sum(self.counts[status] for status in _NEVER)
        return len(differing) + repeats + strange + len(self.unlabelled & labels.keys())
