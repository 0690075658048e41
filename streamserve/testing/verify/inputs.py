"""The inputs of the built-in app, and what of its work follows from an input alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

__all__ = ["KEYS", "START_MS", "STEP_MS", "WINDOW_MS", "Input", "closing_inputs", "extend", "make_inputs", "to_window"]

KEYS: Final = 200
GROUPS: Final = 7
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
START_MS: Final = round(START.timestamp() * 1000)
STEP_MS: Final = 10
"""Event time between one input and the next."""
WINDOW_MS: Final = 10_000

_REFUSED_EACH: Final = 97
_BROKEN_EACH: Final = 211
_LABELLED_EACH: Final = 3
_LEVELS: Final = 1000
_CLOSING_AFTER: Final = 100_000
"""So many inputs later in event time come those that close all windows: 1,000 s."""


@dataclass(frozen=True, slots=True)
class Input:
    """The ``sequence``-th input of ``key``, counted from 0; ``id`` tells it from all others and grows in time."""

    key: str
    sequence: int
    id: int

    @property
    def at_ms(self) -> int:
        """Its event time, in milliseconds since the epoch (UTC)."""
        return START_MS + self.id * STEP_MS

    @property
    def is_refused(self) -> bool:
        """Whether the app has to dead-letter it."""
        return self.sequence % _REFUSED_EACH == _REFUSED_EACH - 1

    @property
    def is_broken(self) -> bool:
        """Whether it is written so that no app can decode it."""
        return self.id % _BROKEN_EACH == _BROKEN_EACH - 1

    @property
    def is_labelled(self) -> bool:
        """Whether a label comes for it."""
        return self.id % _LABELLED_EACH == 0 and not self.is_refused and not self.is_broken

    @property
    def truth(self) -> bool:
        """What its label says."""
        return self.id % 2 == 0

    @property
    def group(self) -> str:
        """The key that it is regrouped by."""
        return f"group-{self.id % GROUPS}"

    @property
    def x(self) -> float:
        """What the model is given, and answers."""
        return self.id % _LEVELS / _LEVELS

    def encode(self) -> bytes:
        """Return its value on the topic: JSON, cut off where it is broken."""
        at = (START + timedelta(milliseconds=self.id * STEP_MS)).isoformat()
        fields = {"key": self.key, "sequence": self.sequence, "id": self.id, "group": self.group, "x": self.x, "at": at}
        text = json.dumps(fields).encode()
        return text[:-1] if self.is_broken else text

    @staticmethod
    def decode(value: bytes | None) -> Input | None:
        """Return the input in ``value``, ``None`` where it is broken.

        >>> Input.decode(Input("ann", 3, 1200).encode())
        Input(key='ann', sequence=3, id=1200)
        >>> Input.decode(Input("ann", 0, 210).encode()) is None
        True
        """
        try:
            fields = _FIELDS.decode(value or b"")
        except msgspec.DecodeError:
            return None
        return Input(fields.key, fields.sequence, fields.id)


class _Fields(msgspec.Struct):
    """What the value of an input names it by."""

    key: str
    sequence: int
    id: int


_FIELDS: Final = msgspec.json.Decoder(_Fields)


def make_inputs(count: int, seed: int) -> Iterator[Input]:
    """Yield ``count`` inputs of random keys, in order of their ids."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    sequences: dict[str, int] = {}
    for number in range(count):
        key = f"key-{chance.randrange(KEYS)}"
        sequence = sequences.get(key, 0)
        sequences[key] = sequence + 1
        yield Input(key, sequence, number)


def closing_inputs(count: int, partitions: int) -> list[Input]:
    """Return one input for each partition, so late that every window of ``count`` inputs closes.

    They are neither broken nor labelled: the last label in time waits for something later.
    """
    step = _BROKEN_EACH * _LABELLED_EACH
    first = (count + _CLOSING_AFTER) // step * step + 1
    return [Input(f"closing-{number}", 0, first + number * step) for number in range(partitions)]


def extend(chain: int, number: int) -> int:
    """Return the hash chain with one more id: it tells every id before it, and their order.

    >>> extend(extend(0, 1), 2) == extend(extend(0, 2), 1)
    False
    """
    return int.from_bytes(blake2b(b"%d/%d" % (chain, number), digest_size=6).digest())


def to_window(at_ms: int) -> int:
    """Return the start of the tumbling window that holds ``at_ms``."""
    return at_ms // WINDOW_MS * WINDOW_MS
