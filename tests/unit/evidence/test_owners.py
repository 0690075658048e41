"""What the verdicts on owners find when it is planted."""

from __future__ import annotations

from tests.integration.apps.claimed import Claimed
from tests.integration.evidence.drains import Drain, overrun
from tests.integration.evidence.owners import Answer, zombies


def answer(owner: str, offset: int, partition: int = 0) -> Answer:
    return Answer(partition, offset, Claimed(offset, "user-1", partition, offset, owner))


def test_an_owner_that_writes_after_another_took_over_is_a_zombie() -> None:
    assert zombies([answer("a", 0), answer("b", 1), answer("a", 2)]) == ["out[0]@2 is by a, whose place b had taken"]


def test_owners_of_different_partitions_do_not_mix() -> None:
    assert zombies([answer("a", 0), answer("b", 0, 1), answer("a", 1), answer("b", 1, 1)]) == []


def test_an_owner_that_processed_more_than_was_committed_is_found() -> None:
    drain = Drain(7, {("in", 0): 2})
    assert overrun([drain], [answer("w0/7/1", 0), answer("w0/7/1", 1)]) == []
    assert overrun([drain], [answer("w0/7/1", 1), answer("w0/7/1", 2)]) == [
        "in[0]: 2 is committed, 2 was processed last"
    ]
