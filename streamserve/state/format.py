"""How state looks in a changelog: the version byte of every value, and the keys and values of a table.

A table's changelog holds three kinds of records. A *value* has the user's key as it is, unless the key is empty or
begins with a zero byte: then ``00 "k"`` stands before it. A *timer* has ``00 "t"`` before the user's key if it goes by
event time, ``00 "p"`` if by processing time; releases without timers of the second kind pass over them. So no two
collide, and byte order of record keys is that of the users' keys within each kind. (``00 "x"`` begins a disk store's
own index records, which never reach a changelog.)

A value is ``01``, eight bytes with the event time of the last write, big-endian milliseconds, and the encoded value; a
timer is ``01`` and eight bytes with its time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import partial

from streamserve.errors import ConfigurationError

__all__ = [
    "ESCAPED",
    "FIRST_PLAIN",
    "PAYLOAD",
    "PROCESSING_TIMER",
    "TIMER",
    "VERSION",
    "check_versions",
    "is_value_key",
    "pack_head",
    "to_record_key",
    "to_user_key",
    "unknown_version",
    "unpack_stamp",
]

VERSION = 1
"""The format that this release writes, and the only one that it reads."""

FIRST_PLAIN = b"\x01"
"""User keys from here on stand in the changelog as they are."""
ESCAPED = b"\x00k"
TIMER = b"\x00t"
PROCESSING_TIMER = b"\x00p"
PAYLOAD = 9
"""Where the encoded value begins in a table's changelog value."""

pack_head: Callable[[int], bytes] = partial(struct.Struct(">Bq").pack, VERSION)
"""Returns the version and a time: all of a timer's value, or what stands before an encoded value."""

_STAMP = struct.Struct(">q")
_KNOWN = bytes([VERSION])


def unknown_version(state: str, value: bytes) -> ConfigurationError:
    r"""Return the error for a changelog value of ``state`` that does not begin with ``VERSION``.

    >>> raise unknown_version("fares", b"\x07...")  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    streamserve.errors.ConfigurationError: state 'fares': a changelog record has format version 7, but this release
    reads 1. Run the release that wrote it, or delete the changelog topic to start this state anew.
    """
    found = f"format version {value[0]}" if value else "no format version (it is empty)"
    return ConfigurationError(
        f"state {state!r}: a changelog record has {found}, but this release reads {VERSION}. "
        "Run the release that wrote it, or delete the changelog topic to start this state anew."
    )


def check_versions(state: str, values: Iterable[bytes | None]) -> None:
    """Raise ``unknown_version`` unless every value is a tombstone or begins with ``VERSION``."""
    unknown = {value[:1] for value in values if value is not None} - {_KNOWN}
    if unknown:
        raise unknown_version(state, min(unknown))


def to_record_key(key: bytes) -> bytes:
    r"""Return the changelog key of the value under the user's ``key``.

    >>> to_record_key(b"EWR"), to_record_key(b""), to_record_key(b"\x00a")
    (b'EWR', b'\x00k', b'\x00k\x00a')
    """
    return key if key >= FIRST_PLAIN else ESCAPED + key


def to_user_key(record_key: bytes) -> bytes:
    r"""Return the user's key of a value's or a timer's changelog key.

    >>> to_user_key(b"\x00k\x00a"), to_user_key(b"\x00tEWR"), to_user_key(b"\x00pJFK"), to_user_key(b"EWR")
    (b'\x00a', b'EWR', b'JFK', b'EWR')
    """
    return record_key if record_key >= FIRST_PLAIN else record_key[2:]


def is_value_key(record_key: bytes) -> bool:
    r"""Tell whether a changelog key is that of a value.

    >>> is_value_key(b"EWR"), is_value_key(b"\x00k"), is_value_key(b"\x00tEWR")
    (True, True, False)
    """
    return record_key >= FIRST_PLAIN or record_key.startswith(ESCAPED)


def unpack_stamp(value: bytes) -> int:
    """Return the time in a changelog value, in milliseconds since the epoch.

    >>> unpack_stamp(pack_head(-5) + b"{}")
    -5
    """
    return _STAMP.unpack_from(value, 1)[0]
