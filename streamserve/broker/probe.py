"""Ask a port whether a Kafka broker answers there, in a few bytes of Kafka's protocol.

The home of Kafka's client is the room ``kafka``, and its first connection takes seconds to give up; here one
Metadata request (version 2, https://kafka.apache.org/protocol#The_Messages_Metadata) is enough. A broker that is up
but not yet admitted to its cluster leaves itself out of the answer, so a broker in the answer is one that serves.
"""

from __future__ import annotations

import random
import socket
import struct

_METADATA = 3
_VERSION = 2
_CORRELATION = 1
_LARGEST_ANSWER = 1 << 20
_FREE_PORTS = range(20_000, 32_000)


def cluster_id(host: str, port: int, *, timeout_s: float = 1.0) -> str | None:
    """Return the id of the cluster that serves at this address, or None where no Kafka broker does."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_request())
            (size,) = struct.unpack(">i", _read(connection, 4))
            if not 0 < size <= _LARGEST_ANSWER:
                return None
            return parse_answer(_read(connection, size))
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def _request() -> bytes:
    """Return a request for the brokers and no topics: an empty array of names."""
    client = b"streamserve"
    body = struct.pack(f">hhih{len(client)}si", _METADATA, _VERSION, _CORRELATION, len(client), client, 0)
    return struct.pack(">i", len(body)) + body


def parse_answer(answer: bytes) -> str | None:
    """Return the cluster's id from a Metadata response, or None where it lists no broker.

    Raises:
        struct.error: The bytes end early or are not such a response.
    """
    correlation, brokers = struct.unpack_from(">ii", answer)
    if correlation != _CORRELATION or brokers < 1:
        return None
    at = 8
    for _ in range(brokers):
        _host, at = _string(answer, at + 4)
        _rack, at = _string(answer, at + 4)
    found, _ = _string(answer, at)
    return found


def _string(answer: bytes, at: int) -> tuple[str | None, int]:
    """Read a nullable string at ``at``; return it and where it ends."""
    (length,) = struct.unpack_from(">h", answer, at)
    if length < 0:
        return None, at + 2
    (text,) = struct.unpack_from(f">{length}s", answer, at + 2)
    return text.decode(), at + 2 + length


def _read(connection: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` bytes; ``struct`` refuses what is shorter because the other side hung up."""
    received = bytearray()
    while len(received) < size and (block := connection.recv(size - len(received))):
        received += block
    return bytes(received)


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen at this address now."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java's servers do: old connections may linger
        try:
            trial.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str) -> int:
    """Return a port that is free now, below the range that systems give to outgoing connections.

    In that range any client could take the port before the broker does, or, while the broker is down for a restart,
    connect to itself. Another server may still come first: be ready to try again.
    """
    while not is_free(host, port := random.choice(_FREE_PORTS)):  # noqa: S311 - spread, not secret
        pass
    return port
