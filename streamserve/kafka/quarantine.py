"""What is known of records whose messages the broker refused, or on which operators of the user's raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamserve.errors import ConfigurationError, OversizeError, RecordError
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.records import Origin, ResultOrigin


@dataclass(slots=True)
class Quarantine:
    """Outlives incarnations of the engine in one process, and remembers what they could not settle.

    A refused message aborts its transaction without saying whose it was. The next incarnation is ``careful``: it sends
    each message alone and learns from delivery reports which input produced it; the one after dead-letters that input.
    It stays careful until it has committed what the aborted transaction held (``suspects``: next offsets). If nothing
    was refused on the way, it was not a message that was too large but a batch of them: messages are sent ``alone``
    from then on. ``one_by_one`` does the same for user operators that raised: records are taken one at a time until
    one raises again, or all suspects are committed. Inputs that an agent took as one list stand or fall ``together``.

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
    together: dict[Origin, Sequence[Origin]] = field(default_factory=dict[Origin, Sequence[Origin]])
    """All inputs behind what is sent in the name of one of them; noted while ``careful``."""
    results: dict[tuple[str, bytes, int], int] = field(default_factory=dict[tuple[str, bytes, int], int])
    """From how many bytes on results of a window, for a key and a start, are refused.

    They are kept while the process lives: one that is written at every change is only going to grow.
    """
    piece: int | None = None
    """The largest batch while records are looked for that end the process; ``None``: as large as the settings say."""
    _named: bool = False

    def batch_limit(self, usual: int) -> int:
        """Return how many records may be taken at once, where there is nothing to look for ``usual`` ones.

        >>> Quarantine().batch_limit(4096), Quarantine(piece=64).batch_limit(4096)
        (4096, 64)
        """
        if self.one_by_one:
            return 1
        return usual if self.piece is None else min(usual, self.piece)

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
        """Remember that the broker refuses what ``origin`` leads to, with those that it was taken together with.

        Raises:
            ConfigurationError: it was refused before, so this was its dead letter.
        """
        if origin in self.refused:
            raise ConfigurationError(f"{text}; its dead letter is refused as well")
        self.refused.update({each: OversizeError(text) for each in self.together.get(origin, (origin,))})
        self._named = True

    def refuse_result(self, origin: ResultOrigin) -> None:
        """Remember that the broker refuses a result of a window; those that are as large are not tried any more."""
        place = origin[:-1]
        self.results[place] = min(origin.size, self.results.get(place, origin.size))
        self._named = True

    def refuses_result(self, origin: ResultOrigin) -> bool:
        """Return whether the broker is known to refuse this result of a window, or a smaller one."""
        smallest = self.results.get(origin[:-1]) if self.results else None
        return smallest is not None and origin.size >= smallest

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
        self.together.clear()
        self.alone |= not named and not self.suspects.keys().isdisjoint(committed)
        self.suspects.clear()
        return not self.alone
