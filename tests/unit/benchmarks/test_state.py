"""The commands that measure state, at a size at which they measure nothing: they run, and print every figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[3]
RESTORED = {"keys", "keys_per_cpu_second", "keys_per_second", "bytes_per_key"}
WAYS = ("event", "batch")
KEYS = ("10_keys", "as_many_keys")
WINDOWS = ("tumbling_1h", "hopping_24h_by_1h", "sliding_1h")
ON_DISK = {"find_many_us", "get_us", "update_new_keys_us", "close_s", "open_s", "resident_mib"}


def printed(module: str, *options: str) -> dict[str, Any]:
    """Run a command, and return what its lines, one object each, have in them."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return {name: value for line in ended.stdout.splitlines() for name, value in msgspec.json.decode(line).items()}


def test_state_tells_what_an_update_a_key_and_a_restore_cost() -> None:
    found = printed("state", "--keys", "1000", "--disk-keys", "1000", "--updates", "1000", "--rounds", "1")
    ways = [f"{way}_{keys}{rule}_us" for way in WAYS for keys in KEYS for rule in ("", "_ttl", "_not_frozen")]
    assert set(found) == {"updates", "memory", "memory-ttl", "disk"}
    assert set(found["updates"]) == set(ways)
    assert set(found["memory"]) == set(found["memory-ttl"]) == RESTORED
    assert set(found["disk"]) == RESTORED | ON_DISK
    assert all(found[kind]["keys"] == 1000 for kind in ("memory", "memory-ttl", "disk"))
    assert min(found["updates"].values()) > 0


def test_state_apps_tells_what_a_table_and_each_window_cost_an_event() -> None:
    found = printed("state_apps", "--events", "1000", "--rounds", "1")
    windows = [f"{window}_{what}_us" for window in WINDOWS for what in ("count", "mean", "max")]
    assert set(found) == {"tables", "windows"}
    assert set(found["tables"]) == {f"{way}_{figure}_us" for way in WAYS for figure in ("without", "update")}
    assert set(found["windows"]) == set(windows)
    assert min(found["windows"].values()) > 0
