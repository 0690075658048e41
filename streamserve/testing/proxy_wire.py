"""What the proxy knows of Kafka's protocol: headers of frames, and where answers name brokers.

The layouts are those of https://kafka.apache.org/protocol; a frame is given without the four bytes of its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

__all__ = ["Address", "Api", "Request", "clamped", "dissected", "joined"]


class Api(IntEnum):
    """The requests of Kafka's protocol that a streaming app sends, by their keys."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    API_VERSIONS = 18
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_CLUSTER = 60
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69


_NAMED: Mapping[int, Api] = {api.value: api for api in Api}

NEWEST: Mapping[int, int] = MappingProxyType(
    {Api.METADATA: 13, Api.FIND_COORDINATOR: 6, Api.DESCRIBE_CLUSTER: 2, Api.PRODUCE: 9, Api.FETCH: 15}
)
"""The newest versions let through: those whose answers are known here, or, of the last two, name no brokers yet."""

_UNSUPPORTED_VERSION = 35
_FLEXIBLE: Mapping[int, int] = {Api.METADATA: 9, Api.FIND_COORDINATOR: 3, Api.DESCRIBE_CLUSTER: 0, Api.API_VERSIONS: 3}
"""From which version on strings and arrays are compact, and structures end with tags (KIP-482)."""
_METADATA_THROTTLE = 3
_COORDINATORS_OF_SEVERAL = 4  # KIP-699
_CLUSTER_FENCED = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A request on its way: ``api`` is an ``Api``, or the key of one that has no name there.

    >>> request = Request.parse(bytes.fromhex("0003 0001 00000007 0002 6d65 ffffffff"))
    >>> request.api, request.version, request.correlation, request.client_id
    (<Api.METADATA: 3>, 1, 7, 'me')
    """

    api: int
    version: int
    correlation: int
    client_id: str
    frame: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Request:
        """Read the header of a frame.

        Raises:
            struct.error: the frame is too short for one.
        """
        key, version, correlation, length = struct.unpack_from(">hhih", frame)
        client_id = frame[10 : 10 + max(0, length)].decode(errors="replace")
        return cls(_NAMED.get(key, key), version, correlation, client_id, frame)

    def mentions(self, name: str) -> bool:
        """Return whether ``name`` stands in it, such as a topic's, a group's or a transactional id's."""
        return name.encode() in self.frame


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens, as an answer says it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``.

        >>> Address.parse("broker:9092")
        Address(host='broker', port=9092)

        Raises:
            ValueError: it is no such text.
        """
        host, _, port = text.strip().rpartition(":")
        if not host:
            raise ValueError(f"{text!r} is no address: write host:port")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def clamped(version: int, answer: bytes) -> bytes:
    """Return an ApiVersions answer in which no version is newer than ``NEWEST`` says.

    What it names it names in place: the answer's length stays the same.
    """
    cursor = _Cursor(answer, 4)
    if cursor.int16() == _UNSUPPORTED_VERSION:
        version = 0  # so it is answered, for who does not know the version that was asked
    cursor.compact = version >= _FLEXIBLE[Api.API_VERSIONS]
    changed = bytearray(answer)
    for _ in range(cursor.length()):
        api, _, newest = cursor.int16(), cursor.int16(), cursor.int16()
        struct.pack_into(">h", changed, cursor.at - 2, min(newest, NEWEST.get(api, newest)))
        cursor.tags()
    return bytes(changed)


def dissected(request: Request, answer: bytes) -> Sequence[bytes | Address]:
    """Return ``answer`` in pieces, the addresses in it apart: ``joined`` puts it together.

    Raises:
        ValueError: its version is newer than ``NEWEST``.
        struct.error, IndexError: it is not laid out as its version says.
    """
    walk = _WALKS.get(request.api)
    if walk is None:
        return [answer]
    if request.version > NEWEST[request.api]:
        raise ValueError(f"version {request.version} of API {request.api} is unknown: who asked knows no ApiVersions")
    cursor = _Cursor(answer, 4)
    cursor.compact = request.version >= _FLEXIBLE[request.api]
    cursor.tags()
    walk(cursor, request.version)
    return [*cursor.pieces, answer[cursor.kept :]]


def joined(request: Request, pieces: Sequence[bytes | Address]) -> bytes:
    """Return the answer that was dissected, with the addresses as they are now."""
    compact = request.version >= _FLEXIBLE.get(request.api, request.version + 1)
    return b"".join(_encoded(piece, compact) if isinstance(piece, Address) else piece for piece in pieces)


def _encoded(address: Address, compact: bool) -> bytes:
    host = address.host.encode()
    length = _uvarint(len(host) + 1) if compact else struct.pack(">h", len(host))
    return length + host + struct.pack(">i", address.port)


def _uvarint(value: int) -> bytes:
    rest, low = divmod(value, 0x80)
    return bytes([low | 0x80]) + _uvarint(rest) if rest else bytes([low])


class _Cursor:
    """Goes through an answer; ``pieces`` are what was passed up to ``kept``."""

    def __init__(self, answer: bytes, at: int) -> None:
        self._answer = answer
        self.at = at
        self.kept = 0
        self.compact = False
        self.pieces: list[bytes | Address] = []

    def skip(self, count: int) -> None:
        self.at += count

    def int16(self) -> int:
        (value,) = struct.unpack_from(">h", self._answer, self.at)
        self.at += 2
        return int(value)

    def int32(self) -> int:
        (value,) = struct.unpack_from(">i", self._answer, self.at)
        self.at += 4
        return int(value)

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self._answer[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def length(self) -> int:
        """Return an array's length; 0 where there is none."""
        return max(0, self.uvarint() - 1 if self.compact else self.int32())

    def string(self) -> str:
        """Return a string, empty where it is null."""
        size = max(0, self.uvarint() - 1 if self.compact else self.int16())
        self.at += size
        return self._answer[self.at - size : self.at].decode()

    def tags(self) -> None:
        """Pass the tagged fields at a structure's end."""
        for _ in range(self.uvarint() if self.compact else 0):
            self.uvarint()
            self.skip(self.uvarint())

    def address(self) -> None:
        """Take an address out, unless it is that of nobody."""
        before = self.at
        found = Address(self.string(), self.int32())
        if found.host:
            self.pieces += [self._answer[self.kept : before], found]
            self.kept = self.at


def _metadata(cursor: _Cursor, version: int) -> None:
    cursor.skip(4 if version >= _METADATA_THROTTLE else 0)
    for _ in range(cursor.length()):
        cursor.int32()  # node
        cursor.address()
        if version >= 1:
            cursor.string()  # rack
        cursor.tags()


def _coordinators(cursor: _Cursor, version: int) -> None:
    if version < _COORDINATORS_OF_SEVERAL:
        cursor.skip(6 if version >= 1 else 2)  # throttle time, error
        if version >= 1:
            cursor.string()  # message
        cursor.int32()  # node
        cursor.address()
        return
    cursor.skip(4)  # throttle time
    for _ in range(cursor.length()):
        cursor.string()  # key
        cursor.int32()  # node
        cursor.address()
        cursor.int16()  # error
        cursor.string()  # message
        cursor.tags()


def _cluster(cursor: _Cursor, version: int) -> None:
    cursor.skip(6)  # throttle time, error
    cursor.string()  # message
    cursor.skip(1 if version >= 1 else 0)  # kind of endpoints
    cursor.string()  # cluster
    cursor.int32()  # controller
    for _ in range(cursor.length()):
        cursor.int32()  # node
        cursor.address()
        cursor.string()  # rack
        cursor.skip(1 if version >= _CLUSTER_FENCED else 0)
        cursor.tags()


_WALKS: Mapping[int, Callable[[_Cursor, int], None]] = {
    Api.METADATA: _metadata,
    Api.FIND_COORDINATOR: _coordinators,
    Api.DESCRIBE_CLUSTER: _cluster,
}
