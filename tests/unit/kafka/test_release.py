"""How a broker's release is read from its answer."""

from __future__ import annotations

import struct
import threading
from contextlib import suppress
from socket import create_server

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamserve.kafka.release import metadata_level, parse_answer, release_of


def answer(features: dict[str, tuple[int, int]], *, error: int = 0, before: bytes = b"") -> bytes:
    """An ApiVersions response with two APIs, some unknown tag and the supported features."""
    apis = struct.pack(">hhhb", 0, 0, 11, 0) + struct.pack(">hhhb", 18, 0, 4, 0)
    names = b"".join(
        bytes([len(name) + 1]) + name.encode() + struct.pack(">hhb", *levels, 0) for name, levels in features.items()
    )
    told = bytes([len(features) + 1]) + names
    tags = b"\x02" + b"\x00" + bytes([len(told)]) + told + b"\x07\x01x"
    return struct.pack(">ih", 1, error) + b"\x03" + apis + struct.pack(">i", 0) + before + tags


FEATURES = {"group.version": (0, 1), "metadata.version": (7, 29)}


def test_the_newest_metadata_version_is_read() -> None:
    assert parse_answer(answer(FEATURES)) == 29


def test_an_answer_without_it_or_with_an_error_says_nothing() -> None:
    assert parse_answer(answer({"group.version": (0, 1)})) is None
    assert parse_answer(answer(FEATURES, error=35)) is None


@given(st.binary(max_size=200))
@example(b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02")  # a number of 64 bits
def test_bytes_of_another_protocol_are_refused_or_say_nothing(noise: bytes) -> None:
    with suppress(struct.error, IndexError, UnicodeDecodeError):
        assert parse_answer(struct.pack(">ih", 1, 0) + noise) is None or b"metadata.version" in noise


@pytest.mark.parametrize(
    ("level", "release"),
    [(None, None), (0, None), (7, "3.3"), (21, "3.9"), (25, "4.0"), (27, "4.1"), (29, "4.2"), (30, "4.3")],
)
def test_levels_belong_to_releases(level: int | None, release: str | None) -> None:
    assert release_of(level) == release


def test_levels_of_the_future_are_newer() -> None:
    assert release_of(99) == "4.4 or newer"


@pytest.mark.parametrize(("reply", "level"), [(answer(FEATURES), 29), (b"HTTP/1.1 400 Bad Request\r\n\r\n", None)])
def test_a_broker_is_asked_and_another_server_is_known_as_none(reply: bytes, level: int | None) -> None:
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(struct.pack(">i", len(reply)) + reply if level else reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert metadata_level("127.0.0.1", server.getsockname()[1]) == level
        thread.join()


def test_where_nobody_listens_nothing_is_known() -> None:
    assert metadata_level("127.0.0.1", 1) is None
