"""What the delivery checker takes and gives: records, what is expected of them, and the report.

The kinds of anomaly:

- *lost*: an input below the committed offset without any outcome;
- *duplicated*: an outcome beyond those that its input may have (counted once for each surplus);
- *reordered*: an outcome that stands, in one output partition, behind one of a later input of the same partition (a
  dead letter: of the same step too);
- *torn*: an input below the committed offset with some of its outputs, but not all;
- *premature*: an outcome of an input at or above the committed offset;
- *phantom*: an outcome that belongs to no input.

They follow the anomalies of Jepsen's Kafka workload (lost write, duplicate, precommitted read, aborted read).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from streamserve.errors import ConfigurationError

Injury: TypeAlias = Literal["lost", "duplicated", "reordered", "torn", "premature", "phantom"]
"""One way in which a history can break the delivery contract."""

INJURIES: Final[tuple[Injury, ...]] = ("lost", "duplicated", "reordered", "torn", "premature", "phantom")


class InputRecord(NamedTuple):
    """One record of an input topic; ``uid`` is what its outcomes name it by, ``None`` where they give coordinates."""

    topic: str
    partition: int
    offset: int
    uid: Hashable = None


class OutcomeRecord(NamedTuple):
    """One output or dead letter, with the ``source`` (topic, partition, offset) or the ``uid`` of its input.

    ``step`` is what set a dead letter aside. Those of one step keep their order; what does not decode may come before
    what an agent refuses.
    """

    topic: str
    partition: int
    offset: int
    source: tuple[str, int, int] | None = None
    uid: Hashable = None
    step: str | bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What each committed input must have led to: all of ``outputs``, or one dead letter and nothing else.

    ``outputs`` gives the number of records on each topic. With ``filtering``, no outcome at all is right as well.
    An agent with a varying number of outputs for one event cannot be judged by count.
    """

    outputs: Mapping[str, int]
    dead_letter_topic: str | None = None
    filtering: bool = False

    def __post_init__(self) -> None:
        if self.dead_letter_topic in self.outputs:
            raise ConfigurationError(f"{self.dead_letter_topic} is named as an output and as the dead-letter topic")


@dataclass(frozen=True, slots=True)
class Report:
    """Counts of records read and of anomalies, with the first examples of each.

    ``committed`` counts inputs below the committed offsets, ``dead_letters`` those of the ``outcomes`` that stand on
    the dead-letter topic.
    """

    inputs: int
    committed: int
    outcomes: int
    dead_letters: int
    lost: int
    duplicated: int
    reordered: int
    torn: int
    premature: int
    phantom: int
    examples: Mapping[Injury, tuple[str, ...]] = field(default_factory=dict[Injury, tuple[str, ...]])

    @property
    def anomalies(self) -> int:
        """Return the number of anomalies of all kinds; 0 is the contract kept."""
        return sum(self.counts().values())

    def counts(self) -> dict[Injury, int]:
        """Return the number of anomalies of each kind."""
        return {
            "lost": self.lost,
            "duplicated": self.duplicated,
            "reordered": self.reordered,
            "torn": self.torn,
            "premature": self.premature,
            "phantom": self.phantom,
        }

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain data for JSON."""
        read = {
            "inputs": self.inputs,
            "committed": self.committed,
            "outcomes": self.outcomes,
            "dead_letters": self.dead_letters,
        }
        examples = {injury: list(texts) for injury, texts in self.examples.items()}
        return {**read, **self.counts(), "anomalies": self.anomalies, "examples": examples}

    def __str__(self) -> str:
        read = f"{self.inputs} inputs, {self.committed} committed, {self.outcomes} outcomes"
        lines = [f"{read} ({self.dead_letters} dead letters): {self.anomalies} anomalies"]
        for injury, count in self.counts().items():
            lines.append(f"  {injury:<11}{count:>9}")
            lines.extend(f"    {text}" for text in self.examples.get(injury, ()))
        return "\n".join(lines)
