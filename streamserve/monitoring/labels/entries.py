"""Predictions and labels as the label join holds them, and how they stand in its changelog."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from streamserve.errors import ConfigurationError

__all__ = [
    "FORMAT",
    "KeyState",
    "Label",
    "Outcome",
    "Predicted",
    "Status",
    "Truth",
    "Waiting",
    "decode_state",
    "encode_state",
    "unknown_format",
    "unreadable",
]

FORMAT = 1
"""The first byte of every changelog value: the version of its format."""

Truth: TypeAlias = bool | int | float
"""What a label says: a class of two, or a number."""

Status: TypeAlias = Literal["matched", "unlabelled", "repeated", "late", "unpredicted"]
"""What became of a prediction or a label.

``matched``: both came, at most ``within`` apart in event time. ``unlabelled``: the label never came. ``repeated``: a
second label of a key, or a second prediction. ``late``: the label came after its prediction was given up.
``unpredicted``: the label came, its prediction never did.
"""


class Predicted(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One prediction: event time in milliseconds (UTC), a finite score, and who made it.

    ``score`` is the probability of the positive class, or the predicted number. ``slices`` holds the values of the
    slice columns in the order of the plan, ``None`` where one is missing.
    """

    time_ms: int
    score: float
    model: str
    version: str
    role: str = "champion"
    slices: tuple[str | None, ...] = ()


class Label(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One label: event time in milliseconds (UTC), and the finite truth."""

    time_ms: int
    truth: Truth


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a prediction, a label or both, under the record key ``key``.

    ``prediction`` is ``None`` for labels whose prediction is not known, ``label`` for predictions without one.
    """

    status: Status
    key: bytes
    prediction: Predicted | None
    label: Label | None

    @property
    def delay_ms(self) -> int | None:
        """Event time of the label less that of the prediction; negative for an early label, ``None`` without both."""
        if self.prediction is None or self.label is None:
            return None
        return self.label.time_ms - self.prediction.time_ms

    @property
    def is_early(self) -> bool:
        """Whether this is a match whose label's event time lies before its prediction's."""
        return self.status == "matched" and (self.delay_ms or 0) < 0


class Waiting(msgspec.Struct, array_like=True, gc=False):
    """A prediction that is remembered: waiting, matched with ``label``, or ``given_up``."""

    prediction: Predicted
    label: Label | None = None
    given_up: bool = False

    @property
    def waits(self) -> bool:
        """Whether the prediction still wants a label."""
        return self.label is None and not self.given_up


class KeyState(msgspec.Struct, array_like=True):
    """What is remembered of one key: its predictions, and labels whose prediction is still to come."""

    predictions: list[Waiting]
    labels: list[Label]


_PREFIX = bytes([FORMAT])
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(KeyState)


def encode_state(state: KeyState) -> bytes:
    """Return ``state`` as a changelog value: the format's version, then MessagePack."""
    return _PREFIX + _ENCODER.encode(state)


def decode_state(value: bytes) -> KeyState:
    """Return the state in a changelog value.

    Raises:
        ConfigurationError: the value has another format version, or is damaged.
    """
    if value[:1] != _PREFIX:
        raise unknown_format(value)
    try:
        return _DECODER.decode(memoryview(value)[1:])
    except msgspec.MsgspecError as error:
        raise unreadable() from error


def unknown_format(value: bytes) -> ConfigurationError:
    """Return the error for a changelog value that does not begin with ``FORMAT``."""
    found = f"format version {value[0]}" if value else "no format version (it is empty)"
    return ConfigurationError(
        f"label state: a changelog record has {found}, but this release reads {FORMAT}. "
        "Run the release that wrote it, or delete the changelog topic to start the labels anew."
    )


def unreadable() -> ConfigurationError:
    """Return the error for a changelog record that is not what this app wrote."""
    return ConfigurationError(
        "label state cannot be read: the changelog was damaged or is another app's. Delete it to start the labels anew."
    )
