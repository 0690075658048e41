"""Taking over from owners that died: piece by piece, and with patience for brokers that are slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamserve.errors import BrokerUnavailable
from streamserve.kafka.calls import Calls
from streamserve.kafka.marks import Committed, OffsetMark, TopicPartitionKey
from streamserve.kafka.restore import Takeover
from streamserve.settings import Settings
from streamserve.testing.harness_clock import HarnessClock
from streamserve.testing.memory_kafka import Cluster, memory_clients
from streamserve.testing.memory_kafka.log import StoredOffset

AT = ("in", 0)
FOUND = Committed(5, None)


class Member:
    """A consumer to which the offsets are unstable as often as it is told."""

    def __init__(self, unstable: int) -> None:
        self._unstable = unstable
        self.waits: list[float] = []

    def committed(
        self, partitions: Sequence[TopicPartitionKey], wait_seconds: float
    ) -> dict[TopicPartitionKey, Committed]:
        self.waits.append(wait_seconds)
        if len(self.waits) <= self._unstable:
            raise BrokerUnavailable("a transaction is open")
        return dict.fromkeys(partitions, FOUND)

    def members(self) -> set[str]:
        return {"alive"}


def takeover(owners: Sequence[str], member: Member) -> tuple[Takeover, list[str]]:
    """Return a takeover of partitions that ``owners`` committed last, and the calls that it has made so far."""
    cluster, calls = Cluster(HarnessClock()), list[str]()
    for partition, owner in enumerate(owners):
        mark = OffsetMark(owner, None, None).encode()
        cluster.group("app").settle("in", partition, StoredOffset(5, mark))

    def note(name: str, when: str) -> None:
        if when == "before":
            calls.append(name)

    consumer: Any = member
    partitions = [("in", partition) for partition in range(len(owners))]
    settings = Settings(instance="w0")
    return Takeover("app", partitions, consumer, settings, Calls(note, memory_clients(cluster))), calls


@pytest.mark.parametrize(
    ("owners", "fenced"), [(["w0"], 0), (["alive"], 0), (["dead"], 3), (["dead", "dead too", "alive"], 6)]
)
def test_each_id_of_a_dead_owner_is_fenced_in_a_step_of_its_own(owners: Sequence[str], fenced: int) -> None:
    taken, calls = takeover(owners, Member(0))
    steps = 1
    while not taken.step():
        steps += 1
        assert calls.count("fence.init_transactions") <= steps - 1
    assert calls.count("fence.init_transactions") == fenced
    assert taken.committed[AT] == FOUND


def test_offsets_that_are_not_stable_are_waited_for_longer_each_time() -> None:
    member = Member(unstable=6)
    taken, calls = takeover(["alive"], member)
    while not taken.step():
        pass
    assert member.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert calls.count("group.last_owners") == 7, "who holds them back may have died since"
