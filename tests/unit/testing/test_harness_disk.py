"""Tables on disk: the same as in memory, and after a clean stop only the tail of the changelog is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from streamserve import App, Stream, Table, Topic
from streamserve.dataflow.owning import states
from streamserve.errors import ConfigurationError
from streamserve.observer import Observer
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

pytest.importorskip("rocksdict")

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = [f"user{number}" for number in range(100)]


class Event(msgspec.Struct, frozen=True):
    user: str
    at: datetime = START


class Restores(Observer):
    """Notes how many changelog records each restore had to read at least."""

    def __init__(self) -> None:
        self.totals: list[int] = []

    def restoring(self, read: int, total: int) -> None:
        del read
        self.totals.append(total)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def events_of(users: Sequence[str], seconds: float = 0) -> list[Event]:
    return [Event(user, at(seconds)) for user in users]


def counting(folder: Path, ttl: str | None = None) -> tuple[App, Topic[Event, str], Table[str, int]]:
    app = App("kept", state_dir=folder)
    events = app.topic("events", Event, key="user", event_time="at")
    seen = app.table("seen", int, default=int, store="disk", ttl=ttl)

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)

    return app, events, seen


def test_a_clean_stop_leaves_state_of_which_only_the_tail_is_read(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path)
    restores = Restores()
    with Harness(app, partitions=2) as harness:
        harness.send(events, *events_of(KEYS))
    assert (tmp_path / "kept" / "harness" / "seen-1" / "clean").exists()
    with Harness(app, partitions=2, after=harness, observer=restores) as again:
        assert max(restores.totals, default=0) <= 4, "markers of the last transactions"
        again.send(events, *events_of(KEYS))
        assert again.table(seen) == dict.fromkeys(KEYS, 2)
    with Harness(app, partitions=2, after=again) as third:
        third.send(events, *events_of(KEYS[:3]))
        assert third.table(seen) == {**dict.fromkeys(KEYS, 2), **dict.fromkeys(KEYS[:3], 3)}


def test_a_changelog_that_was_made_anew_empties_the_table_though_it_is_longer_by_now(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path)
    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS[:2]))
    _, cluster = harness.kafka
    topic = "kept-seen-changelog"
    first = harness.read_bytes(topic)[0]
    cluster.create_topic(topic, 1)
    for _ in range(10):
        cluster.append(topic, first.value(), first.key())
    with Harness(app, after=harness) as again:
        again.send(events, *events_of(KEYS[:2]))
        assert again.table(seen) == {**dict.fromkeys(KEYS[:2], 1), (first.key() or b"").decode(): 2}


@pytest.mark.parametrize("fault", ["crash", "abort", "fence"])
def test_after_an_unclean_end_the_table_is_rebuilt(tmp_path: Path, fault: Fault) -> None:
    app, events, seen = counting(tmp_path)
    restores = Restores()
    with Harness(app, observer=restores) as harness:
        harness.send(events, *events_of(KEYS))
        harness.fault(fault)
        harness.send(events, *events_of(KEYS[:10]))
        assert max(restores.totals) >= len(KEYS)
        harness.send(events, *events_of(KEYS[:10]))
        assert harness.table(seen) == {**dict.fromkeys(KEYS, 1), **dict.fromkeys(KEYS[:10], 3)}


def test_a_rebalance_that_brings_a_group_back_keeps_its_store_open(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path)
    restores = Restores()
    with Harness(app, observer=restores) as harness:
        harness.send(events, *events_of(KEYS))
        harness.fault("rebalance")
        harness.send(events, *events_of(KEYS))
        harness.send(events, *events_of(KEYS))
        assert harness.table(seen) == dict.fromkeys(KEYS, 3)
    assert restores.totals == []


def test_a_store_that_others_have_written_past_reads_what_it_lacks(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path / "here")
    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS))
    elsewhere, events_there, _ = counting(tmp_path / "there")
    with Harness(elsewhere, after=harness) as other:
        other.send(events_there, *events_of(KEYS[:5]))
    restores = Restores()
    with Harness(app, after=other, observer=restores) as again:
        assert max(restores.totals) < 10
        again.send(events, *events_of(KEYS[:5]))
        assert again.table(seen) == {**dict.fromkeys(KEYS, 1), **dict.fromkeys(KEYS[:5], 3)}


def test_a_store_of_another_kafka_is_emptied(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path)
    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS))
    with Harness(app) as new_kafka:
        new_kafka.send(events, *events_of(KEYS[:2]))
        assert new_kafka.table(seen) == dict.fromkeys(KEYS[:2], 1)


def test_values_on_disk_expire_across_stops(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path, ttl="32s")
    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS))
    with Harness(app, after=harness) as again:
        again.send(events, *events_of(KEYS[:2], 20))
        again.send(events, *events_of(KEYS[5:6], 40))
        assert again.table(seen) == {"user0": 2, "user1": 2, "user5": 1}
    with Harness(app, after=again) as third:
        third.send(events, *events_of(KEYS[9:10], 400))
        assert third.table(seen) == {"user9": 1}


def test_a_table_can_move_between_memory_and_disk(tmp_path: Path) -> None:
    app, events, seen = counting(tmp_path)
    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS))
    in_memory = App("kept")
    same_events = in_memory.topic("events", Event, key="user", event_time="at")
    same = in_memory.table("seen", int, default=int)

    @in_memory.agent(same_events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            same.update(event.user, lambda number: number + 1)

    with Harness(in_memory, after=harness) as moved:
        moved.send(same_events, *events_of(KEYS))
    with Harness(app, after=moved) as back:
        back.send(events, *events_of(KEYS))
        assert back.table(seen) == dict.fromkeys(KEYS, 3)


def test_two_workers_of_one_name_cannot_share_a_folder(tmp_path: Path) -> None:
    app, _, _ = counting(tmp_path)
    with Harness(app), pytest.raises(ConfigurationError, match="another process"), Harness(app):
        pass


def test_without_the_extra_the_worker_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ConfigurationError("install streamserve[disk]")

    monkeypatch.setattr(states, "require_rocksdict", missing)
    app, _, _ = counting(tmp_path)
    with pytest.raises(ConfigurationError, match=r"streamserve\[disk\]"), Harness(app):
        pass


def test_without_a_folder_of_its_own_the_harness_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamserve.testing.harness.gettempdir", lambda: str(tmp_path))
    app = App("kept")
    events = app.topic("events", Event, key="user", event_time="at")
    seen = app.table("seen", int, default=int, store="disk")

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)

    with Harness(app) as harness:
        harness.send(events, *events_of(KEYS))
        assert len(list(tmp_path.glob("streamserve-harness-*/kept/harness/seen-0/data"))) == 1
    assert list(tmp_path.iterdir()) == []
    with Harness(app, after=harness) as again:
        again.send(events, *events_of(KEYS))
        assert again.table(seen) == dict.fromkeys(KEYS, 2)
