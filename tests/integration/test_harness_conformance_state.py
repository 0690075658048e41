"""Apps with state and time give the same on the harness and on a real broker, undisturbed and through restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.apps.conforming import CASES
from tests.integration.apps.conforming.tables import sharing
from tests.integration.conformance import OnBroker, differences, on_the_harness
from tests.integration.running import Running

pytestmark = pytest.mark.broker

ABORTED = "producer.commit_transaction:before:1:raise"
"""The broker refuses the first commit: the worker begins anew, from what is committed."""


@pytest.mark.parametrize("name", CASES)
def test_an_app_comes_to_the_same_on_the_harness_and_on_a_broker(
    name: str, brokers: str, topic_name: str, tmp_path: Path
) -> None:
    case = CASES[name](topic_name, tmp_path)
    expected = on_the_harness(case)
    assert all(expected[-1][topic] for topic in case.outputs if not topic.endswith("-dead-letters"))
    assert all(any(seen[topic] for seen in expected) for topic in case.changelogs)
    with OnBroker(case, brokers) as broker:
        broker.run(range(len(case.phases)), expected)
        assert differences(expected[-1], broker.seen()) == []


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"idle"}))
def test_deaths_aborts_and_restarts_change_nothing_on_either(
    name: str, brokers: str, topic_name: str, tmp_path: Path
) -> None:
    """A process dies before a commit, the next is refused one, a third goes on after a clean stop.

    Where partitions are taken for silent, how far time comes depends on which of them a new worker finds silent first.
    """
    case = CASES[name](topic_name, tmp_path)
    expected = on_the_harness(case)
    last = len(case.phases) - 1
    disturbed = on_the_harness(case, ("crash", "abort", "fence", "rebalance"), restart_before=last)
    for calm, found in zip(expected, disturbed, strict=True):
        assert differences(calm, found) == []
    with OnBroker(case, brokers) as broker:
        broker.die(CASES[name], expected, tmp_path)
        broker.run(range(1, last), expected, ABORTED)
        broker.run(range(last, last + 1), expected)
        assert differences(expected[-1], broker.seen()) == []


def test_two_apps_that_read_one_topic_at_once_have_offsets_and_state_of_their_own(
    brokers: str, topic_name: str
) -> None:
    """Each comes to what it comes to alone, though one of them begins anew in between."""
    one, two = (sharing(f"{topic_name}-{step}", f"{topic_name}.in", step) for step in (1, 10))
    (alone,), (also_alone,) = on_the_harness(one), on_the_harness(two)
    with OnBroker(one, brokers) as first, OnBroker(two, brokers) as second, Running(two.app, brokers):
        first.run(range(1), [alone], ABORTED)
        second.wait_for(also_alone)
        assert [first.seen(), second.seen()] == [alone, also_alone]
