"""What is known of records whose messages the broker refused, or on which operators of the user's raised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamserve.errors import ConfigurationError, OversizeError, RecordError
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.records import Origin


@dataclass(slots=True)
class Quarantine:
    """Outlives incarnations of the engine in one process, and remembers what they could not settle.

    A refused message aborts its transaction without saying whose it was. The next incarnation is ``careful``: it sends
    each message alone and learns from delivery reports which input produced it; the one after dead-letters that input.
    It stays careful until it has committed what the aborted transaction held (``suspects``: next offsets). If nothing
    was refused on the way, it was not a message that was too large but a batch of them: messages are sent ``alone``
    from then on. ``one_by_one`` does the same for user operators that raised: records are taken one at a time until
    one raises again, or all suspects are committed.

    >>> quarantine = Quarantine(careful=True)
    >>> quarantine.suspect({("in", 0): 500})
    >>> quarantine.settle({("in", 0): 400}), quarantine.careful
    (False, True)
    >>> quarantine.settle({("in", 0): 500}), quarantine.careful, quarantine.alone
    (False, False, True)
    """

    careful: bool = False
    one_by_one: bool = False
    alone: bool = False
    refused: dict[Origin, RecordError] = field(default_factory=dict[Origin, RecordError])
    suspects: dict[TopicPartitionKey, int] = field(default_factory=dict[TopicPartitionKey, int])
    _named: bool = False

    @property
    def sends_alone(self) -> bool:
        """Return whether each message has to travel in a batch of its own."""
        return self.careful or self.alone

    @property
    def is_active(self) -> bool:
        """Return whether there is something to settle when a transaction was committed."""
        return bool(self.careful or self.one_by_one or self.refused)

    def suspect(self, positions: Mapping[TopicPartitionKey, int]) -> None:
        """Note that a refused message was among what came before ``positions``."""
        for place, position in positions.items():
            self.suspects[place] = max(position, self.suspects.get(place, 0))

    def refuse(self, origin: Origin, text: str) -> None:
        """Remember that the broker refuses what ``origin`` leads to.

        Raises:
            ConfigurationError: it was refused before, so this was its dead letter.
        """
        if origin in self.refused:
            raise ConfigurationError(f"{text}; its dead letter is refused as well")
        self.refused[origin] = OversizeError(text)
        self._named = True

    def settle(self, committed: Mapping[TopicPartitionKey, int]) -> bool:
        """Note what is ``committed`` of the owned partitions; return whether the engine can go back to full batches.

        What is committed comes never again, so it is forgotten.
        """
        self.refused = {
            origin: error
            for origin, error in self.refused.items()
            if origin.at.offset >= committed.get((origin.at.topic, origin.at.partition), 0)
        }
        if any(committed[place] < self.suspects.get(place, 0) for place in committed):
            return False
        self.one_by_one = False
        if not self.careful:
            self.suspects.clear()
            return False
        named, self._named = self._named, False
        self.careful = False
        self.alone |= not named and not self.suspects.keys().isdisjoint(committed)
        self.suspects.clear()
        return not self.alone
