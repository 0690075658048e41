"""A partition whose state is small is processed while another's is still being read back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from streamserve.dataflow.owning import loading
from streamserve.observer import Observer
from streamserve.testing import Harness
from streamserve.testing.harness import Fault
from streamserve.testing.memory_kafka import Cluster
from tests.unit.testing.counting import POISON, Counting, Event, counting

LONG = [f"long{number}" for number in range(40)]
SHORT = ["short"]


class Story(Observer):
    """Notes commits, starts of groups and readiness, in order, and what is left to be read of changelogs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unread: list[int] = []
        self.on_start: Callable[[], object] = lambda: None

    def restoring(self, read: int, total: int) -> None:
        self.unread.append(total - read)

    def committed(self, records: int, seconds: float) -> None:
        del seconds
        self.lines.append(f"{records} committed")

    def restored(self, group: str, seconds: float) -> None:
        del seconds
        self.lines.append(f"{group} starts")
        self.on_start()

    def ready(self, ready: bool, why: str) -> None:
        self.lines.append("ready" if ready else why)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    """One record of a changelog is read at a time, whoever waits."""
    for name in ("SLICE_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(loading, name, 0.0)
    for name in ("_SLICE_RECORDS", "_READ_RECORDS"):
        monkeypatch.setattr(loading, name, 1)
    return Story()


def counting_with_a_timer() -> Counting:
    app = counting()

    @app.app.timer("1m", per="partition")
    async def tick() -> None: ...  # pyright: ignore[reportUnusedFunction]

    return app


def with_much_state_in_partition_1(app: Counting) -> Harness:
    """Return a harness that was stopped, with more records to be read in both partitions."""
    with Harness(app.app, partitions=2) as harness:
        harness.send(app.events, *map(Event, SHORT), partition=0)
        harness.send(app.events, *map(Event, LONG), partition=1)
    _, cluster = harness.kafka
    for partition, users in enumerate((SHORT, LONG)):
        for user in users:
            send(cluster, user, partition)
    return harness


def send(cluster: Cluster, user: str, partition: int) -> None:
    cluster.append("events", msgspec.json.encode(Event(user)), user.encode(), partition=partition)


def test_a_partition_with_little_state_commits_while_another_is_restored(story: Story) -> None:
    app = counting_with_a_timer()
    before = with_much_state_in_partition_1(app)
    with Harness(app.app, partitions=2, after=before, observer=story) as harness:
        assert story.lines == [
            "restoring events[0], events[1]",
            "events[0] starts",
            "restoring events[1]",
            "1 committed",
            "events[1] starts",
            "ready",
            f"{len(LONG)} committed",
        ]
        assert harness.table(app.seen) == dict.fromkeys([*SHORT, *LONG], 2)


@pytest.mark.parametrize("fault", ["crash", "abort", "fence", "rebalance"])
def test_what_befalls_the_one_meanwhile_loses_and_repeats_nothing_of_either(story: Story, fault: Fault) -> None:
    app = counting_with_a_timer()
    before = with_much_state_in_partition_1(app)
    harness = Harness(app.app, partitions=2, after=before, observer=story)
    harness.fault(fault)
    with harness:
        assert harness.table(app.seen) == dict.fromkeys([*SHORT, *LONG], 2)
        answers = [(record.value.user, record.value.times) for record in harness.read(app.out)]
    assert sorted(answers) == sorted((user, times) for user in [*SHORT, *LONG] for times in (1, 2))
    assert "restoring events[1]" in story.lines
    assert story.lines.count("events[1] starts") == 1, "it struck before the second partition was restored"


def test_a_rebalance_on_the_way_reads_on_where_it_was(story: Story) -> None:
    app = counting_with_a_timer()
    before = with_much_state_in_partition_1(app)
    harness = Harness(app.app, partitions=2, after=before, observer=story)
    harness.fault("rebalance")
    with harness:
        assert story.lines.count("restoring events[1]") == 2
    assert story.unread == sorted(story.unread, reverse=True), "what is left to read only ever shrinks"


def test_what_the_broker_refuses_is_looked_for_until_all_partitions_are_read(story: Story) -> None:
    """The one that is read first commits something in each incarnation, but the culprit is in the other."""
    app = counting_with_a_timer()
    before = with_much_state_in_partition_1(app)
    _, cluster = before.kafka
    send(cluster, POISON, 1)
    story.on_start = partial(send, cluster, *SHORT, 0)
    with Harness(app.app, partitions=2, after=before, observer=story) as harness:
        (letter,) = harness.dead_letters()
    assert (letter.key, letter.reason) == (POISON.encode(), "oversize")
    assert story.lines.count("events[1] starts") == 4, "met, named, set aside, and back to full batches"
