"""Who made a prediction, as a header of its copy on an internal topic."""

from __future__ import annotations

from typing import Final, NamedTuple

from streamserve.records import RawRecord

__all__ = ["HEADER", "UNKNOWN", "Lineage", "lineage_of"]

HEADER: Final = "streamserve-lineage"

_SEPARATOR = "\x1f"


class Lineage(NamedTuple):
    """A model, its version and the role that the version played.

    >>> Lineage.parse(Lineage("delay", "3", "champion").encode())
    Lineage(model='delay', version='3', role='champion')
    """

    model: str
    version: str
    role: str

    def encode(self) -> bytes:
        """Return the header's value."""
        return _SEPARATOR.join(self).encode()

    @staticmethod
    def parse(value: bytes) -> Lineage:
        """Return the lineage in a header's value; ``UNKNOWN`` where it is none."""
        parts = value.decode(errors="replace").split(_SEPARATOR)
        return Lineage(*parts) if len(parts) == len(UNKNOWN) else UNKNOWN


UNKNOWN: Final = Lineage("unknown", "unknown", "unknown")
"""The lineage of a prediction that does not tell."""


def lineage_of(record: RawRecord) -> bytes | None:
    """Return the lineage header of ``record``, not yet parsed."""
    for name, value in record.headers() or ():
        if name == HEADER:
            return value
    return None
