"""Three Kafka brokers on this machine, each of them a controller as well: what partitions' leaders move between.

Everything is replicated three times, offsets and transactions included, and two copies make a write; leaders stay where
they have moved until they are asked back. Everything is on loopback, and ends with its block or this process.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
)

from streamserve.broker.config import Layout, java_arguments, write_settings
from streamserve.broker.distribution import find_distribution
from streamserve.broker.java import find_java
from streamserve.broker.process import Guard, kill, terminate
from tests.integration.waiting import HOST, free_ports, wait_until

OFFSETS = "__consumer_offsets"
TRANSACTIONS = "__transaction_state"
SIZE = 3
START_S = 600.0
"""For three brokers at once, on a machine with other work."""

_CLUSTER_ID = "c3RyZWFtc2VydmUtdGhyZQ"  # 16 bytes in base64, as Kafka wants it
_OPTIONS = ("-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_REPLICATED: Mapping[str, str] = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "auto.leader.rebalance.enable": "false",
    "controlled.shutdown.enable": "true",  # there are others to lead on
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
}


@dataclass(slots=True)
class Node:
    """One broker: its number from 1 on, its ports, its files, and its process while it runs."""

    number: int
    port: int
    controller_port: int
    layout: Layout
    process: subprocess.Popen[bytes] | None = None
    guard: Guard | None = None

    def start(self, java: Path) -> None:
        """Start it; it may take a while until it serves."""
        command = [str(java), *java_arguments(self.layout, _OPTIONS), "kafka.Kafka", str(self.layout.settings)]
        with self.layout.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
        self.guard = Guard(self.process.pid, self.layout.marker)

    def end(self, *, at_once: bool) -> None:
        """Kill it, or ask it to end; it gives its partitions to others then."""
        if self.process is None:
            return
        if at_once:
            kill(self.process.pid, self.layout.marker)
        else:
            terminate(self.process.pid, self.layout.marker, timeout_s=60)
        self.process.wait()
        self.process = None
        if self.guard is not None:
            self.guard.release()
            self.guard = None


@dataclass(slots=True)
class Cluster:
    """Three brokers below ``folder``, which run inside its block."""

    folder: Path
    nodes: list[Node] = field(default_factory=list[Node])

    @property
    def address(self) -> str:
        """All brokers, for ``bootstrap.servers``."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def __enter__(self) -> Self:
        first = free_ports(2 * SIZE)
        for at in range(SIZE):
            layout = Layout(self.folder / f"broker-{at + 1}")
            self.nodes.append(Node(at + 1, first + at, first + SIZE + at, layout))
        self._format()
        try:
            for node in self.nodes:
                node.start(find_java().path)
            wait_until(lambda: len(self.metadata().brokers) == SIZE, "three brokers", START_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self, number: int) -> None:
        """Start a broker again, and return when it has all copies: others may be ended then."""
        self.nodes[number - 1].start(find_java().path)
        wait_until(self.whole, f"broker {number} with all its copies", START_S)

    def end(self, number: int, *, at_once: bool) -> None:
        """Kill a broker, or stop it in good order."""
        self.nodes[number - 1].end(at_once=at_once)

    def metadata(self) -> ClusterMetadata:
        """Return what the brokers tell of themselves and of all topics; nothing where none answers."""
        try:
            return self._admin().list_topics(timeout=10)
        except KafkaException:
            return ClusterMetadata()

    def whole(self) -> bool:
        """Return whether all brokers are there and every partition has all of its copies in sync."""
        found = self.metadata()
        partitions = [one for topic in found.topics.values() for one in topic.partitions.values()]
        return len(found.brokers) == SIZE and all(len(one.isrs) == SIZE and one.leader > 0 for one in partitions)

    def leaders(self) -> dict[tuple[str, int], int]:
        """Return the number of each partition's leader, -1 where there is none."""
        topics = self.metadata().topics.items()
        return {(name, at): one.leader for name, topic in topics for at, one in topic.partitions.items()}

    def coordinator(self, name: str, log: str) -> int:
        """Return the broker that coordinates a group (``OFFSETS``) or a transactional id (``TRANSACTIONS``)."""
        partitions = len(self.metadata().topics[log].partitions)
        return self.leaders()[log, coordinating(name, partitions)]

    def elect(self) -> None:
        """Let the preferred leaders lead again: the first copy of each partition."""
        client: Any = self._admin()  # its future is untyped
        outcome = cast("Future[object]", client.elect_leaders(ElectionType.PREFERRED, None))
        outcome.result(60)

    def _admin(self) -> AdminClient:
        """Return a new client: an old one goes on asking brokers that are gone."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _format(self) -> None:
        voters = ",".join(f"{node.number}@{HOST}:{node.controller_port}" for node in self.nodes)
        class_path, java = find_distribution().class_path, find_java().path
        for node in self.nodes:
            settings = {**_REPLICATED, "node.id": str(node.number), "controller.quorum.voters": voters}
            ports = {"port": node.port, "controller_port": node.controller_port}
            write_settings(node.layout, class_path, **ports, settings=settings)
            tool = ("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(node.layout.settings))
            _run([str(java), *java_arguments(node.layout, _QUICK), *tool], node.layout.log)

    def _end(self) -> None:
        for node in self.nodes:
            node.end(at_once=True)


def coordinating(name: str, partitions: int) -> int:
    """Return the partition of the coordinators' log that a group or a transactional id has, by Java's ``hashCode``.

    >>> coordinating("payments", 4), coordinating("payments.host-0.0", 4)
    (1, 2)
    """
    code = 0
    for letter in name:
        code = (31 * code + ord(letter)) & 0xFFFFFFFF
    return (code & 0x7FFFFFFF) % partitions


def _run(command: Sequence[str], log: Path) -> None:
    with log.open("ab") as lines:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env=os.environ, check=True)
