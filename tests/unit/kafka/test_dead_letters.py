from __future__ import annotations

from dataclasses import dataclass, field

from streamserve.errors import AgentError, DecodeError
from streamserve.kafka.dead_letters import dead_letter
from streamserve.testing.checks import ReadRecord, SourceHeaders


@dataclass(slots=True)
class Raw:
    """A record as the client delivers it."""

    payload: bytes | None = b'{"uid": "not a number"}'
    own: list[tuple[str, bytes | None]] | None = field(default_factory=lambda: [("trace", b"\xff\x00"), ("step", None)])

    def value(self) -> bytes | None:
        return self.payload

    def key(self) -> bytes | None:
        return b"\xfe"

    def topic(self) -> str | None:
        return "in"

    def partition(self) -> int | None:
        return 3

    def offset(self) -> int | None:
        return 17

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.own


def test_key_and_bytes_stay_untouched() -> None:
    letter = dead_letter("dead", "decode", Raw(), DecodeError("uid: expected an integer"))
    assert (letter.topic, letter.key, letter.value) == ("dead", b"\xfe", b'{"uid": "not a number"}')


def test_headers_say_why_and_where_from_and_keep_the_record_s_own() -> None:
    letter = dead_letter("dead", "decode", Raw(), DecodeError("uid: expected an integer"))
    assert letter.headers == (
        ("step", b"decode"),
        ("reason", b"decode"),
        ("error", b"DecodeError"),
        ("message", b"uid: expected an integer"),
        ("source-topic", b"in"),
        ("source-partition", b"3"),
        ("source-offset", b"17"),
        ("source-timestamp", b"1700000000000"),
        ("original-trace", b"\xff\x00"),
        ("original-step", None),
    )


def test_the_class_is_that_of_what_user_code_raised() -> None:
    error = AgentError("agent 'echo' raised ZeroDivisionError")
    error.__cause__ = ZeroDivisionError()
    assert dict(dead_letter("dead", "echo", Raw(), error).headers)["error"] == b"ZeroDivisionError"


def test_a_tombstone_without_headers_can_be_a_dead_letter() -> None:
    letter = dead_letter("dead", "decode", Raw(None, None), DecodeError("empty"))
    assert letter.value is None
    assert len(letter.headers) == 8


def test_the_checker_finds_the_source() -> None:
    letter = dead_letter("dead", "decode", Raw(), DecodeError("empty"))
    read = ReadRecord("dead", 0, 0, letter.key, letter.value, letter.headers, 0)
    assert SourceHeaders()(read) == ("in", 3, 17)
