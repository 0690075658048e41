"""What all state of a partition group has in common: it lives in a changelog topic, one record for each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

__all__ = ["ChangelogState", "Changes"]

Changes: TypeAlias = tuple[list[bytes], list[bytes | None]]
"""Changelog records as two lists of one length: keys, each once, and their last values; ``None`` is a tombstone."""


class ChangelogState(Protocol):
    """State of one partition group, backed by partition *p* of one compacted changelog topic.

    Life: ``load`` any number of times, ``loaded`` once, then use; at every commit ``take_changes``, whose records go
    into the transaction. A transaction that does not commit ends the object: the next incarnation loads a new one.
    """

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log: a later value of a key wins, ``None`` deletes it.

        Raises:
            ConfigurationError: a record has a format version that this release does not know.
        """
        ...

    def loaded(self) -> None:
        """Tell that the changelog's end is reached; nothing else is asked of the state before."""
        ...

    def take_changes(self) -> Changes:
        """Return what changed since the last call; afterwards the state counts as clean."""
        ...
