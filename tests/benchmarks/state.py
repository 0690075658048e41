"""What tables cost: an update, a restored key, a key in memory and on disk.

``python -m tests.benchmarks.state`` prints one JSON object a line. Updates are processor time of the one
thread, the best of several rounds; memory is the process's resident set, so each part runs in a process of its own.
``--disk-keys 10000000`` fills a table on disk with that many keys of 100 bytes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from streamserve.state.definition import TableDefinition
from streamserve.state.disk import DiskStore
from streamserve.state.format import pack_head
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore, Store
from streamserve.state.table import TableState

PART = 10_000
RECORD_BYTES = 100
KEY_BYTES = 16
MIB = 1024 * 1024


class Total(msgspec.Struct, frozen=True):
    """A value like a rolling figure's."""

    count: int = 0
    total: float = 0.0


def _add(total: Total) -> Total:
    return Total(total.count + 1, total.total + 1.5)


def _table(store: Store, ttl_ms: int | None = None, *, is_frozen: bool = True) -> TableState[Total]:
    decode = msgspec.json.Decoder(Total).decode
    definition = TableDefinition("totals", msgspec.json.encode, decode, Total, ttl_ms=ttl_ms, is_frozen=is_frozen)
    return TableState(definition, store)


def _by_events(table: TableState[Total], keys: list[bytes]) -> None:
    """An event for each key, a commit for each part."""
    for number, key in enumerate(keys):
        event = Pending(number)
        table.update(event, key, _add)
        event.commit()
        if number % PART == PART - 1:
            table.take_changes()


def _by_batches(table: TableState[Total], keys: list[bytes]) -> None:
    """A batch and a commit for each part."""
    for start in range(0, len(keys), PART):
        batch = Pending(start)
        for key in keys[start : start + PART]:
            batch.now_ms += 1
            table.update(batch, key, _add)
        batch.commit()
        table.take_changes()


def measure_updates(records: int, rounds: int) -> dict[str, float]:
    """Return microseconds for read, change, write and changelog, by way, keys and rules."""
    kinds = {"10_keys": [b"key%013d" % (i % 10) for i in range(records)], "as_many_keys": _keys(0, records)}
    rules = {"": (None, True), "_ttl": (1_000_000, True), "_not_frozen": (None, False)}
    ways: dict[str, Callable[[TableState[Total], list[bytes]], None]] = {"event": _by_events, "batch": _by_batches}
    figures: dict[str, float] = {}
    for kind, keys in kinds.items():
        for rule, (ttl_ms, is_frozen) in rules.items():
            for way, run in ways.items():
                table = _table(MemoryStore(), ttl_ms, is_frozen=is_frozen)
                seconds = min(
                    _cpu_seconds(lambda run=run, table=table, keys=keys: run(table, keys)) for _ in range(rounds)
                )
                figures[f"{way}_{kind}{rule}_us"] = round(seconds / records * 1e6, 2)
    return figures


def measure_restore(store: Store, keys: int, ttl_ms: int | None = None) -> dict[str, float]:
    """Load ``keys`` records of 100 bytes as a restore does, and return rates, seconds and bytes."""
    table = _table(store, ttl_ms)
    before, cpu, wall = _resident_bytes(), 0.0, 0.0
    for part, values in changelog_parts(keys):
        cpu_start, wall_start = time.thread_time(), time.perf_counter()
        table.load(part, values)
        cpu, wall = cpu + time.thread_time() - cpu_start, wall + time.perf_counter() - wall_start
    last = _cpu_seconds(table.loaded)
    return {
        "keys": keys,
        "keys_per_cpu_second": round(keys / (cpu + last)),
        "keys_per_second": round(keys / (wall + last)),
        "bytes_per_key": round((_resident_bytes() - before) / keys, 1),
    }


def measure_disk(keys: int) -> dict[str, float]:
    """Restore to disk, update, read, stop cleanly and open again."""
    with TemporaryDirectory() as folder:
        store = DiskStore(Path(folder))
        figures = measure_restore(store, keys)
        some = _keys(0, keys, max(1, keys // 20_000))
        table = _table(store)
        figures["find_many_us"] = _us(lambda: store.get_many(some), len(some))
        figures["get_us"] = _us(lambda: [store.get(key) for key in some], len(some))
        figures["update_new_keys_us"] = _us(lambda: _by_batches(table, [b"new" + key for key in some]), len(some))
        figures["close_s"] = round(_wall_seconds(lambda: store.close(keys)), 3)
        figures["open_s"] = round(_wall_seconds(lambda: _open_and_read(Path(folder), some[0])), 3)
    figures["resident_mib"] = round(_peak_bytes() / MIB)
    return figures


def _open_and_read(path: Path, key: bytes) -> None:
    store = DiskStore(path)
    _table(store).loaded()
    found = store.get(key)
    store.close(None)
    if found is None:
        raise SystemExit("the store lost a key over a clean stop")


def _keys(start: int, stop: int, step: int = 1) -> list[bytes]:
    return [b"key%013d" % number for number in range(start, stop, step)]


def changelog_parts(keys: int) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
    """Give the changelog in parts: each record has its own bytes, which do not compress."""
    head = pack_head(0)
    length = RECORD_BYTES - KEY_BYTES - len(head)
    noise = hashlib.shake_256(b"state").digest(PART + length)
    for start in range(0, keys, PART):
        part = _keys(start, min(start + PART, keys))
        yield part, [head + noise[place : place + length] for place in range(len(part))]


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _wall_seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _us(work: Callable[[], object], times: int) -> float:
    return round(_wall_seconds(work) / times * 1e6, 2)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run one part, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["updates", "memory", "memory-ttl", "disk"])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--disk-keys", type=int, default=1_000_000)
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "updates": lambda: measure_updates(given.updates, given.rounds),
        "memory": lambda: measure_restore(MemoryStore(), given.keys),
        "memory-ttl": lambda: measure_restore(MemoryStore(), given.keys, ttl_ms=1_000_000),
        "disk": lambda: measure_disk(given.disk_keys),
    }
    if given.part:
        gc.freeze()
        gc.disable()
        print(msgspec.json.encode({given.part: parts[given.part]()}).decode(), flush=True)
        return
    for part in parts:
        subprocess.run([sys.executable, "-m", "tests.benchmarks.state", part, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
