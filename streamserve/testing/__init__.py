"""What users and our own tests check with: the in-memory harness, faults, a proxy and the delivery checker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamserve.testing.harness import DeadLetter, Harness
    from streamserve.testing.proxy import Api, KafkaProxy

__all__ = ["Api", "DeadLetter", "Harness", "KafkaProxy"]

_HOMES = {"Api": "proxy", "DeadLetter": "harness", "Harness": "harness", "KafkaProxy": "proxy"}


def __getattr__(name: str) -> object:
    """Load the harness, which runs the engine, only where it is asked for: the checker must do without the engine."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
