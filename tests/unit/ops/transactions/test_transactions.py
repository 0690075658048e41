"""What is asked of Kafka's tool, and what is made of its answers, as it was seen to give them (Kafka 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from streamserve.broker.tools import ToolRun
from streamserve.errors import BrokerUnavailable, ConfigurationError
from streamserve.ops.transactions import Hanging, Transaction, Transactions, parse_table
from streamserve.settings import Settings

LISTED = """\
TransactionalId\tCoordinator\tProducerId\tTransactionState\t
shop.b-0.1     \t1          \t7         \tCompleteCommit  \t
shop.a-0.0     \t1          \t0         \tOngoing         \t
"""
DESCRIBED = (
    "CoordinatorId\tTransactionalId\tProducerId\tProducerEpoch\tTransactionState\tTransactionTimeoutMs\t"
    "CurrentTransactionStartTimeMs\tTransactionDurationMs\tTopicPartitions\t\n"
    "1            \tshop.h.0       \t0         \t2            \tOngoing         \t600000              \t"
    "1795294003465                \t4854                 \tt1-0,t1-1      \t\n"
)
HANGING = """\
Topic\tPartition\tProducerId\tProducerEpoch\tCoordinatorEpoch\tStartOffset\tLastTimestamp\tDuration(min)\t
t1   \t0        \t5         \t3            \t-1              \t17         \t1795294003465\t12           \t
"""


@dataclass(slots=True)
class Tool:
    """Answers as it is told, and remembers what it was asked."""

    answer: ToolRun
    asked: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    properties: str = ""

    def __call__(self, arguments: Sequence[str], properties: str) -> ToolRun:
        self.asked.append(arguments)
        self.properties = properties
        return self.answer


def asked(output: str = "", *, code: int = 0, complaint: str = "", **settings: object) -> tuple[Tool, Transactions]:
    tool = Tool(ToolRun(code, output, complaint))
    return tool, Transactions(Settings(**settings), tool)  # pyright: ignore[reportArgumentType]


def test_transactions_are_listed_by_name() -> None:
    tool, transactions = asked(LISTED)
    assert transactions.listed() == [
        Transaction("shop.a-0.0", "Ongoing", 0, 1),
        Transaction("shop.b-0.1", "CompleteCommit", 7, 1),
    ]
    assert [one.is_open for one in transactions.listed()] == [True, False]
    assert tool.asked[0] == ["--bootstrap-server", "127.0.0.1:9092", "list"]


def test_one_is_described_with_where_it_writes() -> None:
    tool, transactions = asked(DESCRIBED)
    found = transactions.describe("shop.h.0")
    assert (found.epoch, found.timeout_ms, found.started_ms, found.duration_ms) == (2, 600_000, 1795294003465, 4854)
    assert found.partitions == ["t1-0", "t1-1"]
    assert tool.asked[0][2:] == ["describe", "--transactional-id", "shop.h.0"]


def test_what_hangs_is_aborted_where_it_begins() -> None:
    tool, transactions = asked(HANGING)
    [hanging] = transactions.hanging_in("t1", 0, minutes=1)
    assert hanging == Hanging("t1", 0, 17, 5, 3, 1795294003465, 12)
    transactions.abort(hanging)
    assert tool.asked[1][2:] == ["abort", "--topic", "t1", "--partition", "0", "--start-offset", "17"]


def test_security_settings_go_to_the_tool_and_not_into_its_arguments() -> None:
    kafka = {"sasl.mechanism": "PLAIN", "sasl.username": "ann", "sasl.password": "canary"}
    tool, transactions = asked(LISTED, kafka=kafka)
    transactions.listed()
    assert "canary" in tool.properties
    assert "canary" not in str(tool.asked)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            "Failed to list: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node",
            BrokerUnavailable,
        ),
        ("Failed to describe transaction state of transactional-id `nope`", ConfigurationError),
    ],
)
def test_the_tools_own_words_are_told(words: str, error: type[Exception]) -> None:
    _, transactions = asked(code=1, complaint=words + "\n")
    with pytest.raises(error, match="Kafka's tool says: Failed"):
        transactions.listed()


def test_an_empty_table_has_no_rows() -> None:
    assert parse_table("") == []
    assert parse_table(HANGING.splitlines()[0] + "\n") == []
