"""What users and our own tests check with: the in-memory harness, faults and the delivery checker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamserve.testing.harness import DeadLetter, Harness

__all__ = ["DeadLetter", "Harness"]


def __getattr__(name: str) -> object:
    """Load the harness, which runs the engine, only where it is asked for: the checker must do without the engine."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streamserve.testing import harness

    return getattr(harness, name)
