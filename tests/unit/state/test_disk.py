from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamserve.clock import ManualClock
from streamserve.errors import ConfigurationError
from streamserve.state.disk import DiskStore

NOW_MS = 1_700_000_000_000
OPEN_AND_DIE = """
import os, sys
from pathlib import Path
from streamserve.state.disk import DiskStore
store = DiskStore(Path(sys.argv[1]))
print(store.opened_at)
store.write([b"late"], [b"2"])
sys.stdout.flush()
os._exit(9)
"""


def _filled(path: Path, clean_at: int | None, clock: ManualClock | None = None) -> None:
    store = DiskStore(path, clock=clock)
    store.write([b"key"], [b"value"])
    store.close(clean_at)


def test_a_new_directory_begins_empty(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "new" / "table-0")
    assert (store.opened_at, list(store.items())) == (None, [])
    store.close(None)


def test_a_clean_close_is_gone_on_from(tmp_path: Path) -> None:
    _filled(tmp_path, 42)
    store = DiskStore(tmp_path)
    assert (store.opened_at, store.get(b"key")) == (42, b"value")
    store.close(None)


def test_a_close_without_an_offset_begins_empty(tmp_path: Path) -> None:
    _filled(tmp_path, None)
    store = DiskStore(tmp_path)
    assert (store.opened_at, store.get(b"key")) == (None, None)
    store.close(None)


def test_a_clean_close_counts_once_a_killed_process_leaves_nothing_to_trust(tmp_path: Path) -> None:
    _filled(tmp_path, 42)
    died = subprocess.run(
        [sys.executable, "-c", OPEN_AND_DIE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (died.returncode, died.stdout.strip()) == (9, "42")
    store = DiskStore(tmp_path)
    assert (store.opened_at, list(store.items())) == (None, [])
    store.close(None)


@pytest.mark.parametrize("marker", [b"", b"{", b'{"version": 99, "clean_at": 1, "closed_ms": 0}', b'{"clean_at": "x"}'])
def test_a_marker_that_does_not_read_is_not_trusted(tmp_path: Path, marker: bytes) -> None:
    _filled(tmp_path, 42)
    (tmp_path / "clean").write_bytes(marker)
    store = DiskStore(tmp_path)
    assert (store.opened_at, store.get(b"key")) == (None, None)
    store.close(None)


@pytest.mark.parametrize(("seconds", "opened_at"), [(3600, 42), (12 * 3600 + 1, None)])
def test_a_directory_closed_longer_than_tombstones_are_kept_begins_empty(
    tmp_path: Path, seconds: int, opened_at: int | None
) -> None:
    clock = ManualClock(NOW_MS)
    _filled(tmp_path, 42, clock)
    clock.advance(seconds)
    store = DiskStore(tmp_path, clock=clock)
    assert store.opened_at == opened_at
    store.close(None)


def test_a_marker_from_the_future_is_not_trusted(tmp_path: Path) -> None:
    _filled(tmp_path, 42, ManualClock(NOW_MS + 1))
    store = DiskStore(tmp_path, clock=ManualClock(NOW_MS))
    assert store.opened_at is None
    store.close(None)


def test_data_that_rocksdb_cannot_open_is_dropped(tmp_path: Path) -> None:
    _filled(tmp_path, 42)
    (tmp_path / "data" / "CURRENT").write_bytes(b"broken\n")
    store = DiskStore(tmp_path)
    assert (store.opened_at, store.get(b"key")) == (None, None)
    store.close(None)


def test_a_directory_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    with pytest.raises(ConfigurationError, match=r"another process has it open.*instance name"):
        DiskStore(tmp_path)
    store.close(7)
    again = DiskStore(tmp_path)
    assert again.opened_at == 7
    again.close(None)


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Choose a directory"):
        DiskStore(tmp_path / "file" / "table-0")


def test_without_rocksdict_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamserve.state.disk.find_spec", {"rocksdict": None}.get)
    with pytest.raises(ConfigurationError, match=r"streamserve\[disk\]"):
        DiskStore(tmp_path)
