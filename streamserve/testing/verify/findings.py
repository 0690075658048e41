"""What a judgement comes to: anomalies by kind, the first of each in words.

The kinds:

- *lost*: an input below the committed offset without any outcome, or what follows from inputs (a window, a label)
missing;
- *duplicated*: one of these more often than once;
- *reordered*: an outcome behind that of a later input of the same partition;
- *phantom*: an outcome without a cause;
- *torn*: outputs, side outputs, changelog and offsets that disagree about one commit;
- *stale*: an outcome computed from state that was not that of all inputs before it, and of them only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from streamserve.testing.report import Injury, Report

__all__ = ["KINDS", "Findings", "Kind"]

Kind: TypeAlias = Literal["lost", "duplicated", "reordered", "phantom", "torn", "stale"]

KINDS: Final[tuple[Kind, ...]] = ("lost", "duplicated", "reordered", "phantom", "torn", "stale")

_KIND_OF: Final[dict[Injury, Kind]] = {
    "lost": "lost",
    "duplicated": "duplicated",
    "reordered": "reordered",
    "torn": "torn",
    "premature": "torn",
    "phantom": "phantom",
}
"""An outcome above the committed offset is visible without its offset: the two disagree about one commit."""


@dataclass(slots=True)
class Findings:
    """Counts of anomalies and at most ``limit`` examples of each kind.

    >>> findings = Findings(limit=1)
    >>> findings.add("stale", "answers[0]@7: count 3, not 4")
    >>> findings.add("stale", "answers[0]@8: count 4, not 5")
    >>> findings.anomalies, findings.counts["stale"], findings.examples["stale"]
    (2, 2, ['answers[0]@7: count 3, not 4'])
    """

    limit: int = 10
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: dict[Kind, list[str]] = field(default_factory=dict[Kind, list[str]])

    @property
    def anomalies(self) -> int:
        """Return the number of all anomalies."""
        return sum(self.counts.values())

    def add(self, kind: Kind, text: str, times: int = 1) -> None:
        """Count ``times`` anomalies that ``text`` describes."""
        self.counts[kind] += times
        examples = self.examples.setdefault(kind, [])
        if len(examples) < self.limit:
            examples.append(text)

    def copy(self) -> Findings:
        """Return one to which others can be added."""
        return Findings(self.limit, {**self.counts}, {kind: [*texts] for kind, texts in self.examples.items()})

    def add_report(self, report: Report) -> None:
        """Count what the delivery checker found."""
        for injury, count in report.counts().items():
            kind = _KIND_OF[injury]
            self.counts[kind] += count
            texts = self.examples.setdefault(kind, [])
            texts += report.examples.get(injury, ())[: self.limit - len(texts)]

    def join(self, other: Findings) -> None:
        """Take over what another judgement of the same history found: of each kind the larger count holds."""
        for kind, count in other.counts.items():
            if count > self.counts[kind]:
                self.counts[kind] = count
                self.examples[kind] = list(other.examples.get(kind, ()))
