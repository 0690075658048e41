"""How fast a table's changelog comes back from a real broker: ``python -m tests.benchmarks.state_restore``.

Writes a changelog of as many keys as told (records of 100 bytes), reads it as a restore does, into memory and to disk,
and prints one JSON object for each. ``keys_per_second`` is by the wall clock; ``keys_per_cpu_second`` by the processor
time of the whole process, which has librdkafka's threads in it: that is the figure for one core.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from streamserve.broker.server import LocalBroker
from streamserve.kafka.admin import Admin, TopicSpec, changelog_config
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogReader
from streamserve.settings import Settings, load_settings
from streamserve.state.definition import TableDefinition
from streamserve.state.disk import DiskStore
from streamserve.state.store import MemoryStore, Store
from streamserve.state.table import TableState
from tests.benchmarks.state import changelog_parts


def write_changelog(settings: Settings, keys: int) -> str:
    """Write a changelog of one partition; return its topic."""
    topic = f"bench-{uuid4().hex[:8]}-changelog"
    Admin(settings).create([TopicSpec(topic, 1, changelog_config(), "benchmark")], partitions=1)
    producer = Producer(
        {"bootstrap.servers": settings.bootstrap_servers, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    for names, values in changelog_parts(keys):
        for key, value in zip(names, values, strict=True):
            producer.produce(topic, value, key, 0)
        producer.flush(60)
    return topic


def measure_restore(settings: Settings, topic: str, keys: int, store: Store) -> dict[str, float]:
    """Restore ``topic`` into ``store``, and return rates and seconds."""
    decode = msgspec.json.Decoder(float).decode
    table = TableState(TableDefinition("totals", msgspec.json.encode, decode, float), store)
    wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
    reader = ChangelogReader("bench", settings, Calls())
    reader.request({(topic, 0): 0})
    while (columns := reader.step()) is not None:
        for _, names, values in columns:
            table.load(names, values)
    table.loaded()
    reader.close()
    wall, cpu, thread = time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - thread
    return {
        "keys": keys,
        "seconds": round(wall, 2),
        "keys_per_second": round(keys / wall),
        "keys_per_cpu_second": round(keys / cpu),
        "keys_per_second_of_the_thread": round(keys / thread),
    }


def measure_all(brokers: str, keys: int, rounds: int) -> None:
    """Print a line for memory and one for disk: the best of ``rounds`` each."""
    settings = load_settings(command_line={"bootstrap_servers": brokers, "instance": "bench"})
    topic = write_changelog(settings, keys)
    with TemporaryDirectory() as folder:
        stores: dict[str, Callable[[int], Store]] = {
            "memory": lambda _: MemoryStore(),
            "disk": lambda number: DiskStore(Path(folder) / str(number)),
        }
        for name, make in stores.items():
            figures = [measure_restore(settings, topic, keys, make(number)) for number in range(rounds)]
            best = max(figures, key=lambda found: found["keys_per_second"])
            print(msgspec.json.encode({f"restore_{name}": best}).decode(), flush=True)


def main() -> None:
    """Measure against the broker that is named, or one of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brokers")
    given = parser.parse_args()
    gc.freeze()
    gc.disable()
    if given.brokers:
        measure_all(given.brokers, given.keys, given.rounds)
        return
    with LocalBroker() as broker:
        measure_all(broker.address, given.keys, given.rounds)


if __name__ == "__main__":
    main()
