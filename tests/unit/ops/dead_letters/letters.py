"""Dead letters for tests."""

from __future__ import annotations

from confluent_kafka import Message

from streamserve.ops.dead_letters import DeadLetter
from streamserve.records import Headers

SOURCE: Headers = (
    ("step", b"decode"),
    ("reason", b"decode"),
    ("error", b"DecodeError"),
    ("message", b"user: Field required"),
    ("source-topic", b"clicks"),
    ("source-partition", b"3"),
    ("source-offset", b"41"),
    ("source-timestamp", b"1000"),
)


def message(
    value: bytes | None, *own: tuple[str, bytes | None], offset: int = 17, headers: Headers = SOURCE
) -> Message:
    """Return a record of the dead-letter topic; ``own`` are headers of the record behind it."""
    told: list[tuple[str, str | bytes | None]] = [*headers, *((f"original-{name}", text) for name, text in own)]
    return Message(
        topic="shop-dead-letters",
        partition=0,
        offset=offset,
        key=b"u1",
        value=value,
        headers=told,
        timestamp=(1, 5_000),
    )


def letter(value: bytes | None, *own: tuple[str, bytes | None], headers: Headers = SOURCE) -> DeadLetter:
    """Return the same, decoded."""
    return DeadLetter.of(message(value, *own, headers=headers))  # pyright: ignore[reportArgumentType] - its headers' type
