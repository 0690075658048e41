"""One thing that is wrong with an app."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from streamserve.errors import StreamserveError

__all__ = ["Problem", "problem_of"]

_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Problem:
    """``where`` names the part of the app, ``what`` is wrong there, ``remedy`` is what to do."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.remedy})"


def problem_of(error: StreamserveError, *, where: str = "the app's declaration") -> Problem:
    """Return what an error of ours says as a problem; the user's line that led to it is named, if there is one.

    >>> str(problem_of(StreamserveError("agent 'score' reads no topic")))
    "the app's declaration: agent 'score' reads no topic (correct what the text names)"
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if not frames:
        return Problem(where, str(error), "correct what the text names")
    last = frames[-1]
    return Problem(where, str(error), f"correct line {last.lineno} of {Path(last.filename).name}")


def _is_users(filename: str) -> bool:
    return not filename.startswith("<") and not Path(filename).is_relative_to(_PACKAGE)
