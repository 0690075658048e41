"""Pairs of crash points, and the processes that they take."""

from __future__ import annotations

from itertools import islice

from streamserve.testing.faults import Fault, parse_faults
from tests.integration.evidence.points import DYING, ENDING, Pair, lives, pairs, points, written

FLUSH = Fault("producer.flush", "before", 2, "raise")
KILL = Fault("consumer.poll", "after", 3, "kill")


def test_any_stretch_has_each_point_once_as_the_first_of_a_pair() -> None:
    everything = set(points(3))
    stretch = list(islice(pairs(3, 1, seed=5), 3 * len(everything)))
    for row in range(3):
        row_of = stretch[row * len(everything) : (row + 1) * len(everything)]
        assert {pair.first for pair in row_of} == everything


def test_all_pairs_come_once() -> None:
    found = [(pair.first, pair.second) for pair in pairs(2, 1, seed=1)]
    assert len(found) == len(set(found)) == len(points(2)) * len(points(1))


def test_the_same_seed_gives_the_same_pairs() -> None:
    assert list(islice(pairs(3, 1, seed=2), 50)) == list(islice(pairs(3, 1, seed=2), 50))


def test_a_failure_is_recovered_from_in_the_same_process_and_a_death_in_the_next() -> None:
    (life,) = lives(Pair(0, FLUSH, KILL))
    assert (life.instance, life.faults, life.places) == ("w0", [FLUSH, KILL], [0, 1])
    first, second = lives(Pair(0, KILL, FLUSH))
    assert (first.faults, first.places, second.faults, second.places) == ([KILL], [0], [FLUSH], [1])


def test_calls_for_a_dead_owner_are_led_to_by_a_worker_of_another_name() -> None:
    describe = Fault("group.describe", "before", 1, "kill")
    dying, second = lives(Pair(0, FLUSH, describe))
    assert (dying.instance, dying.faults, dying.places) == ("w1", [FLUSH, DYING], [0, None])
    assert (second.instance, second.faults, second.places) == ("w0", [describe], [1])


def test_calls_of_an_end_are_led_to_by_a_failure() -> None:
    close = Fault("consumer.close", "after", 1, "raise")
    (life,) = lives(Pair(0, close, FLUSH))
    assert (life.faults, life.places) == ([ENDING, close, FLUSH], [None, 0, 1])


def test_points_are_written_as_the_switch_reads_them() -> None:
    assert all(parse_faults(written(point)) == [point] for point in points(3))
