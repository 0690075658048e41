"""The directory of one disk store: held by one process, and trusted only after a clean close.

::

    <directory>/
      lock      locked while a process has the directory open
      clean     written last at a clean close: the changelog, the offset in it and the time; gone while open
      data/     the database
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final, TextIO

import msgspec

from streamserve.clock import Clock
from streamserve.errors import ConfigurationError

__all__ = ["StateDirectory"]


class _Clean(msgspec.Struct, frozen=True):
    """What the marker says: valid up to ``clean_at`` of ``changelog``, since ``closed_ms``, in format ``version``."""

    version: int
    clean_at: int
    closed_ms: int
    changelog: str = ""


class StateDirectory:
    """Opens ``path``, empties what an unclean stop left there, and knows from which offset to go on.

    A marker older than ``max_age_ms`` does not count either: by then compaction may have removed tombstones that the
    data never saw (Kafka keeps them for ``delete.retention.ms``, a day by default). Nor does one of another
    ``changelog``: a topic that was deleted and made anew has a new identity, though it may be longer by now.

    Raises:
        ConfigurationError: another process has the directory open, or it cannot be used.
    """

    def __init__(self, path: Path, clock: Clock, *, version: int, max_age_ms: int, changelog: str = "") -> None:
        self.data: Final = path / "data"
        self.opened_at: int | None = None
        self._path = path
        self._clock = clock
        self._version = version
        self._changelog = changelog
        self._marker = path / "clean"
        self._lock = self._acquire()
        try:
            self.opened_at = self._take_marker(max_age_ms)
            if self.opened_at is None:
                self.empty()
        except OSError as error:
            self.release(None)
            raise _unusable(path, error) from error

    def empty(self) -> None:
        """Delete the data; nothing may have it open."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        self.opened_at = None

    def release(self, clean_at: int | None) -> None:
        """Let other processes in, after ``clean_at`` is on the disk if it is given; the data must be there before."""
        if clean_at is not None:
            clean = _Clean(self._version, clean_at, self._clock.now_ms(), self._changelog)
            draft = self._path / "clean.new"
            with draft.open("wb") as file:
                file.write(msgspec.json.encode(clean))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._marker)
            _sync_directory(self._path)
        self._lock.close()

    def _acquire(self) -> TextIO:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            lock = (self._path / "lock").open("w")
        except OSError as error:
            raise _unusable(self._path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise ConfigurationError(
                f"state directory {self._path}: another process has it open. Give each worker on this machine its own "
                "instance name, or stop the other worker."
            ) from error
        return lock

    def _take_marker(self, max_age_ms: int) -> int | None:
        """Return the marker's offset if it counts, after the marker is gone from the disk."""
        try:
            clean = msgspec.json.decode(self._marker.read_bytes(), type=_Clean)
        except (FileNotFoundError, msgspec.DecodeError):
            clean = None
        self._marker.unlink(missing_ok=True)
        _sync_directory(self._path)
        if clean is None or not self.data.is_dir():
            return None
        if (clean.version, clean.changelog) != (self._version, self._changelog):
            return None
        is_fresh = 0 <= self._clock.now_ms() - clean.closed_ms <= max_age_ms
        return clean.clean_at if is_fresh else None


def _sync_directory(path: Path) -> None:
    """Make what was created, renamed or removed in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"state directory {path}: {error.strerror}. Choose a directory that can be written.")
