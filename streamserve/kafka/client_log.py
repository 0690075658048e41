"""What Kafka's clients tell of themselves, as lines of this process's logs rather than on its standard error."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

__all__ = ["CLIENT_LOG", "News"]

_QUIET_SECONDS: Final = 60.0
_KEPT: Final = 256
"""How many different lines are remembered."""

_RETRIED: Final = "GETPID"
"""Each try to start a transactional id, as on a broker that has just started: what the last one fails of is raised."""

_VARYING: Final = re.compile(r"\d+|^\[thrd:[^]]*\]: ")


class News(logging.Filter):
    """Lets a line pass that has not been told for a minute, whatever its numbers and whichever client tells it.

    A client without a broker tells of each connection that fails, 20 a second. Debugging, which somebody has asked for,
    is told in full. A line has its facility, its client's name and its text as arguments.

    >>> news = News()
    >>> line = logging.makeLogRecord({"levelno": 40, "args": ("FAIL", "producer-1", "no answer after 10 ms")})
    >>> news.filter(line), news.filter(line)
    (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[object, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is told."""
        if record.levelno <= logging.DEBUG or not isinstance(record.args, tuple) or not record.args:
            return True
        facility, *_, text = record.args
        if facility == _RETRIED:
            return False
        kind, now = (facility, _VARYING.sub("", str(text))), self._clock()
        if now - self._told.get(kind, float("-inf")) < _QUIET_SECONDS:
            return False
        if len(self._told) >= _KEPT:
            self._told.clear()
        self._told[kind] = now
        return True


CLIENT_LOG: Final = logging.getLogger("librdkafka")
"""Takes what clients would print: they tell it when they are polled, in the thread that polls."""
CLIENT_LOG.addFilter(News())
CLIENT_LOG.setLevel(logging.DEBUG)  # librdkafka tells what its ``log_level`` and ``debug`` ask for
