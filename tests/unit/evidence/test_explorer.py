"""The explorer strikes each pair of crash points that comes about once, and knows when there are no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.kafka.calls import When
from tests.integration.evidence.explored import Explored
from tests.integration.evidence.explorer import ENOUGH_COMMITS, PATIENCE, Explorer, Told, exploring
from tests.integration.evidence.points import NUMBERS, POINTS, START, Action, Point, is_asked_for
from tests.integration.evidence.trials import chance_of

BEFORE: tuple[When, When] = ("before", "after")


class Struck(Exception):
    """Something has struck."""


class Worker:
    """Makes a few calls for each commit, and begins anew when it is struck; it ends when it is asked to."""

    def __init__(self, explored: Explored, *, seed: int = 1) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.stopping = False
        self.explorer = Explorer(explored, chance_of(seed), self._strike, self._stop, frozenset[Action]({"raise"}))

    def _strike(self, first: int, second: int) -> None:
        self.pairs.append((first, second))
        raise Struck

    def _stop(self) -> None:
        self.stopping = True

    def _call(self, name: str) -> None:
        for when in BEFORE:
            self.explorer(name, when)

    def live(self) -> None:
        """Run to an end in order."""
        self.stopping = False
        while not self.stopping:
            try:
                self.incarnation()
            except Struck:
                continue
        if not self.explorer.left_out:
            self.explorer.explored.complete(self.explorer.last)
        self.explorer.recover_from(START)

    def incarnation(self) -> None:
        self._call("consumer.subscribe")
        for _ in range(ENOUGH_COMMITS):
            self._call("producer.flush")
            self._call("producer.commit_transaction")


PASSED = [
    NUMBERS[Point(call, when, ordinal, "raise")]
    for call, ordinals in (("consumer.subscribe", 1), ("producer.flush", 3), ("producer.commit_transaction", 3))
    for when in BEFORE
    for ordinal in range(1, ordinals + 1)
]


def explored_by_lives(seed: int) -> tuple[Explored, Worker]:
    explored = Explored.in_memory()
    worker = Worker(explored, seed=seed)
    for _ in range(1_000):
        if not explored.open_points():
            return explored, worker
        worker.live()
    raise AssertionError(f"{explored.counts()}")


@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_strike_and_none_that_does_not_come_about(seed: int) -> None:
    explored, worker = explored_by_lives(seed)
    assert set(worker.pairs) == {(first, second) for first in (START, *PASSED) for second in PASSED}
    assert explored.firsts() == [START, *sorted(PASSED)]
    asked = sum(is_asked_for(first, second) for first in (START, *PASSED) for second in NUMBERS.values())
    assert explored.counts() == {
        "points struck": len(PASSED),
        "points that nothing passes": len(POINTS) - len(PASSED),
        "points complete": len(PASSED) + 1,
        "pairs struck": len(PASSED) * (len(PASSED) + 1),
        "pairs not reached": asked - len(PASSED) * (len(PASSED) + 1),
    }


def test_few_strikes_only_lead_to_others() -> None:
    _, worker = explored_by_lives(1)
    assert len(worker.pairs) < 2 * len(set(worker.pairs))


def test_ordinals_count_from_the_last_strike() -> None:
    explored = Explored.in_memory()
    for number in PASSED:
        explored.strike(START, number)
    explored.complete(START)
    worker = Worker(explored)
    worker.live()
    assert worker.pairs
    assert all(point == 0 or POINTS[point - 1].ordinal <= 3 for pair in worker.pairs for point in pair)


def test_after_some_strikes_the_next_waits_for_a_commit() -> None:
    worker = Worker(Explored.in_memory())
    worker.explorer.fruitless = PATIENCE
    with pytest.raises(Struck):
        worker.incarnation()
    ((_, second),) = worker.pairs
    assert second in {NUMBERS[Point("producer.commit_transaction", "after", 1, "raise")], *PASSED}
    assert worker.explorer.left_out is False, "of the recovery from what has just struck"
    assert POINTS[second - 1].call != "consumer.subscribe"


def test_what_has_struck_is_seen_by_all_who_share_the_file_and_kept(tmp_path: Path) -> None:
    ours, theirs = (Explored.in_file(tmp_path / "shared") for _ in range(2))
    ours.strike(3, 4)
    ours.strike(3, 5)
    ours.complete(3)
    assert theirs.is_struck(3, 4)
    theirs.judge([(3, 4)])
    later = Explored.in_file(tmp_path / "shared")
    later.forget_unjudged()
    assert (later.is_struck(3, 4), later.is_struck(3, 5), later.is_complete(3)) == (True, False, False)


def test_a_file_of_other_points_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(100))
    with pytest.raises(ValueError, match="begin a new one"):
        Explored.in_file(tmp_path / "old")


def test_somebody_takes_over_only_after_a_start_in_order() -> None:
    leave = NUMBERS[Point("producer.flush", "after", 1, "leave")]
    assert is_asked_for(START, leave)
    assert not is_asked_for(PASSED[0], leave)


def test_workers_are_told_by_the_variable_of_faults(tmp_path: Path) -> None:
    assert exploring("producer.flush:before:1:kill", lambda: None) is None
    explorer = exploring(str(Told(str(tmp_path / "file"), 5, 2, "seed", 1.5)), lambda: None)
    assert explorer is not None
    assert (explorer.last, explorer.fruitless, explorer.lasting_s) == (5, 2, 1.5)
