"""Open transactions: whose they are, which hang, and how to end them.

librdkafka does not ask for them, so Kafka's own tool does (``org.apache.kafka.tools.TransactionsCommand``, KIP-664).
Two kinds hold readers back, and end in two ways:

- one that its coordinator **knows**, of a producer that is gone or stuck: it ends at its time-out, or at once when its
  transactional id is taken anew. No tool is needed for that, and every partition of it ends alike;
- one that **hangs**: a partition holds it open, and its coordinator knows nothing of it (any more). Nothing ends it but
  an abort marker, written into that partition alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamserve.broker.tools import ToolRun, run_tool
from streamserve.errors import BrokerUnavailable, ConfigurationError
from streamserve.kafka.fencing import end_transaction
from streamserve.kafka.inspection import Inspection
from streamserve.ops.transactions.java_settings import java_properties
from streamserve.settings import Settings

__all__ = ["Description", "Hanging", "Transaction", "Transactions", "parse_table"]

_TOOL = "org.apache.kafka.tools.TransactionsCommand"
_OVER = frozenset({"Empty", "CompleteCommit", "CompleteAbort", "Dead"})
_OUTAGE = ("TimeoutException", "timed out", "Timed out", "disconnected", "DisconnectException")

RunTool = Callable[[Sequence[str], str], ToolRun]
"""Runs the tool with arguments and a properties file's text."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transactional id as its coordinator lists it."""

    transactional_id: str
    state: str
    producer_id: int
    coordinator: int

    @property
    def is_open(self) -> bool:
        """Return whether it holds readers back."""
        return self.state not in _OVER


@dataclass(frozen=True, slots=True)
class Description:
    """What a coordinator knows of a transactional id; times are in milliseconds, ``None`` where nothing is open."""

    transaction: Transaction
    epoch: int
    timeout_ms: int
    started_ms: int | None
    duration_ms: int | None
    partitions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Hanging:
    """A transaction that a partition holds open and no coordinator will end; ``last_ms`` is its last record's time."""

    topic: str
    partition: int
    start_offset: int
    producer_id: int
    epoch: int
    last_ms: int
    minutes: int


@dataclass(slots=True)
class Transactions:
    """Asks Kafka's tool about transactions, and ends them.

    Raises (from every method):
        LocalBrokerError: there is no Java, or Kafka's jars cannot be had.
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses it, or security settings cannot be said to the tool.
    """

    settings: Settings
    run: RunTool = field(default=lambda arguments, properties: run_tool(_TOOL, arguments, properties=properties))

    def listed(self) -> list[Transaction]:
        """Return every transactional id that coordinators know, by name."""
        rows = self._table("list")
        return sorted((_transaction(row) for row in rows), key=lambda one: one.transactional_id)

    def describe(self, transactional_id: str) -> Description:
        """Return what its coordinator knows of an id.

        Raises:
            ConfigurationError: it knows none of that name.
        """
        [row] = self._table("describe", "--transactional-id", transactional_id)
        return Description(
            _transaction({**row, "Coordinator": row["CoordinatorId"]}),
            int(row["ProducerEpoch"]),
            int(row["TransactionTimeoutMs"]),
            _number(row["CurrentTransactionStartTimeMs"]),
            _number(row["TransactionDurationMs"]),
            [place for place in row["TopicPartitions"].split(",") if place],
        )

    def hanging(self, *, minutes: int, topics: Collection[str] | None = None) -> list[Hanging]:
        """Return what hangs and wrote nothing for ``minutes``, in ``topics`` or everywhere.

        A transaction that ends between the tool's questions can look as if it hung: 0 minutes is for tests.
        """
        brokers = [broker.number for broker in Inspection(self.settings).brokers()]
        found = {
            one
            for broker in brokers
            for one in map(_hanging, self._find("--broker-id", str(broker), minutes=minutes))
            if topics is None or one.topic in topics
        }
        return sorted(found, key=lambda one: (one.topic, one.partition, one.start_offset))

    def hanging_in(self, topic: str, partition: int, *, minutes: int) -> list[Hanging]:
        """Return what hangs in one partition."""
        return [*map(_hanging, self._find("--topic", topic, "--partition", str(partition), minutes=minutes))]

    def _find(self, *where: str, minutes: int) -> list[Mapping[str, str]]:
        return self._table("find-hanging", *where, "--max-transaction-timeout", str(minutes))

    def end(self, transactional_id: str) -> None:
        """End the open transaction of an id that its coordinator knows: see ``end_transaction``."""
        end_transaction(transactional_id, self.settings)

    def abort(self, hanging: Hanging) -> None:
        """Write an abort marker for a hanging transaction into its partition."""
        where = ("--topic", hanging.topic, "--partition", str(hanging.partition))
        self._told("abort", *where, "--start-offset", str(hanging.start_offset))

    def _table(self, *arguments: str) -> list[Mapping[str, str]]:
        return parse_table(self._told(*arguments))

    def _told(self, *arguments: str) -> str:
        secrets = {key: secret.get_secret_value() for key, secret in self.settings.kafka.items()}
        ended = self.run(["--bootstrap-server", self.settings.bootstrap_servers, *arguments], java_properties(secrets))
        if ended.code == 0:
            return ended.output
        words = " ".join((ended.complaint.strip() or ended.output.strip()).split())[:500]
        text = f"transactions {arguments[0]}: Kafka's tool says: {words or f'exit code {ended.code}'}"
        if any(sign in words for sign in _OUTAGE):
            raise BrokerUnavailable(
                f"{text}. No answer from Kafka at {self.settings.bootstrap_servers}: is it running?"
            )
        raise ConfigurationError(f"{text}. See 'streamserve transactions list', and the rights of this user.")


def parse_table(text: str) -> list[Mapping[str, str]]:
    r"""Return the rows of a table as Kafka's tools print it: cells padded with spaces, with tabs behind.

    >>> parse_table("Topic\tPartition\t\nclicks \t0        \t\n")
    [{'Topic': 'clicks', 'Partition': '0'}]
    """
    lines = [[cell.strip() for cell in line.rstrip("\n").split("\t")] for line in text.splitlines() if "\t" in line]
    return [dict(zip(filter(None, lines[0]), row, strict=False)) for row in lines[1:]] if lines else []


def _transaction(row: Mapping[str, Any]) -> Transaction:
    state, producer = row["TransactionState"], int(row["ProducerId"])
    return Transaction(row["TransactionalId"], state, producer, int(row["Coordinator"]))


def _hanging(row: Mapping[str, str]) -> Hanging:
    return Hanging(
        row["Topic"],
        int(row["Partition"]),
        int(row["StartOffset"]),
        int(row["ProducerId"]),
        int(row["ProducerEpoch"]),
        int(row["LastTimestamp"]),
        int(row["Duration(min)"]),
    )


def _number(text: str) -> int | None:
    return None if text == "None" else int(text)
