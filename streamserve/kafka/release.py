"""Which release of Kafka a broker runs, asked in a few bytes of Kafka's protocol, since librdkafka does not tell.

One ApiVersions request (version 3, https://kafka.apache.org/protocol#The_Messages_ApiVersions), which brokers answer
before a client has authenticated. The answer names the newest ``metadata.version`` that the broker knows; its number
grows with every release (``MetadataVersion`` in Kafka's server-common).
"""

from __future__ import annotations

import socket
import struct
from bisect import bisect_right
from itertools import repeat

__all__ = ["metadata_level", "parse_answer", "release_of"]

_API_VERSIONS = 18
_VERSION = 3
_CORRELATION = 1
_LARGEST_ANSWER = 1 << 20
_NUMBER_BYTES = 5
_SUPPORTED_FEATURES = 0
_FEATURE = "metadata.version"
_RELEASES = (
    (1, "3.0"), (2, "3.1"), (3, "3.2"), (4, "3.3"), (8, "3.4"), (9, "3.5"), (12, "3.6"), (15, "3.7"), (20, "3.8"),
    (21, "3.9"), (22, "4.0"), (26, "4.1"), (28, "4.2"), (30, "4.3"), (31, "4.4 or newer"),
)  # fmt: skip
"""From which level on a release counts."""


def release_of(level: int | None) -> str | None:
    """Return the release whose newest metadata version is ``level``; none is known before 3.0 and without KRaft.

    >>> release_of(25), release_of(30), release_of(None)
    ('4.0', '4.3', None)
    """
    if level is None or level < _RELEASES[0][0]:
        return None
    return _RELEASES[bisect_right(_RELEASES, level, key=lambda release: release[0]) - 1][1]


def metadata_level(host: str, port: int, *, timeout_s: float = 2.0) -> int | None:
    """Return the newest metadata version that the broker at this address knows.

    ``None`` where nothing answers in plain text (as behind TLS) or the answer says nothing of it.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_request())
            (size,) = struct.unpack(">i", _read(connection, 4))
            return parse_answer(_read(connection, size)) if 0 < size <= _LARGEST_ANSWER else None
    except (OSError, struct.error, IndexError, UnicodeDecodeError):
        return None


def _request() -> bytes:
    name = b"streamserve"
    header = struct.pack(f">hhih{len(name)}sb", _API_VERSIONS, _VERSION, _CORRELATION, len(name), name, 0)
    body = _compact(name) + _compact(b"0") + b"\0"
    return struct.pack(">i", len(header + body)) + header + body


def _compact(text: bytes) -> bytes:
    return bytes([len(text) + 1]) + text


def parse_answer(answer: bytes) -> int | None:
    """Return the newest metadata version of an ApiVersions response, or ``None`` where it names none.

    Raises:
        struct.error, IndexError: the bytes end early or are not such a response.
    """
    correlation, error = struct.unpack_from(">ih", answer)
    if correlation != _CORRELATION or error != 0:
        return None
    count, at = _number(answer, 6)
    for _ in repeat(None, count - 1):
        at = _past_tags(answer, at + 6)  # an API's key and its versions
    tags, at = _number(answer, at + 4)  # after the throttle time
    for _ in repeat(None, tags):
        tag, at = _number(answer, at)
        size, at = _number(answer, at)
        if tag == _SUPPORTED_FEATURES:
            return _newest(answer[at : at + size])
        at += size
    return None


def _newest(features: bytes) -> int | None:
    count, at = _number(features, 0)
    for _ in repeat(None, count - 1):
        length, at = _number(features, at)
        name = features[at : at + length - 1].decode()
        at += length - 1
        _, newest = struct.unpack_from(">hh", features, at)
        if name == _FEATURE:
            return int(newest)
        at = _past_tags(features, at + 4)
    return None


def _past_tags(answer: bytes, at: int) -> int:
    tags, at = _number(answer, at)
    for _ in repeat(None, tags):
        _, at = _number(answer, at)
        size, at = _number(answer, at)
        at += size
    return at


def _number(answer: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned number of 32 bits, seven a byte, at ``at``; return it and where it ends.

    Raises:
        IndexError: the bytes end early, or the number is longer.
    """
    value = 0
    for place in range(_NUMBER_BYTES):
        byte = answer[at + place]
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value, at + place + 1
    raise IndexError("a number of more than 32 bits")


def _read(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (block := connection.recv(size - len(received))):
        received += block
    return bytes(received)
