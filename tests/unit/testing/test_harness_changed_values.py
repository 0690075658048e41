"""An old changelog under new code: what becomes of values whose model has changed since they were written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, NamedTuple

import msgspec
import pytest

from streamserve import App, Stream, Table, Topic
from streamserve.errors import ConfigurationError
from streamserve.testing import Harness


class Event(msgspec.Struct, frozen=True):
    user: str


class Visits(msgspec.Struct, frozen=True):
    """The value as it was at first."""

    count: int = 0


class Extended(msgspec.Struct, frozen=True):
    """A field more, which has a default."""

    count: int = 0
    source: str = "unknown"


class Renamed(msgspec.Struct, frozen=True):
    """Another name for what is counted."""

    times: int


def _renamed(stored: dict[str, int]) -> Renamed:
    return Renamed(stored["count"])


Store = Literal["memory", "disk"]


class Release(NamedTuple):
    """A release of the app; its agent tells the value that it finds, and makes the next of it."""

    app: App
    events: Topic[Event, str]
    told: Topic[str, str]
    table: Table[str, Any]


def release(kind: type[Any], step: Callable[[Any], Any], store: Store, **more: Any) -> Release:
    app = App("releases")
    events = app.topic("events", Event, key="user")
    told = app.topic("told", str, key=lambda text: text)
    table: Table[str, Any] = app.table("visits", kind, store=store, **more)

    @app.agent(events, to=told)
    async def count(stream: Stream[Event]) -> AsyncIterator[str]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            value = table.get(event.user)
            yield repr(value)
            table[event.user] = step(value)

    return Release(app, events, told, table)


def first_release(store: Store) -> Release:
    return release(Visits, lambda value: Visits(1 if value is None else value.count + 1), store)


def told(harness: Harness, of: Release) -> list[str]:
    return [record.value for record in harness.read(of.told)]


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_field_with_a_default_is_there_in_old_values_and_what_is_written_has_it(store: Store) -> None:
    old = first_release(store)
    with Harness(old.app) as first:
        first.send(old.events, Event("a"), Event("a"), Event("b"))
    new = release(Extended, lambda value: Extended(value.count + 1, "new"), store)
    with Harness(new.app, after=first) as second:
        second.send(new.events, Event("a"), Event("a"))
        assert told(second, new)[3:] == ["Extended(count=2, source='unknown')", "Extended(count=3, source='new')"]
        assert second.table(new.table) == {"a": Extended(4, "new"), "b": Extended(1)}


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_migrate_makes_todays_value_of_one_that_does_not_fit_and_the_changelog_follows(store: Store) -> None:
    old = first_release(store)
    with Harness(old.app) as first:
        first.send(old.events, Event("a"), Event("a"))
    new = release(Renamed, lambda value: Renamed(value.times + 1), store, migrate=_renamed)
    with Harness(new.app, after=first) as second:
        second.fault("crash")
        second.send(new.events, Event("a"))
        second.send(new.events, Event("a"))
        assert told(second, new)[2:] == ["Renamed(times=2)", "Renamed(times=3)"]
        assert second.changelog("releases-visits-changelog")[b"a"].endswith(b'{"times":4}')


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_value_that_fits_no_more_stops_the_app_and_nothing_is_lost_for_the_release_that_mends_it(
    store: Store,
) -> None:
    old = first_release(store)
    with Harness(old.app) as first:
        first.send(old.events, Event("a"), Event("a"))
    broken = release(Renamed, lambda value: Renamed(value.times + 1), store)
    with (
        pytest.raises(ConfigurationError, match=r"'visits'.*does not fit the table's type any more.*migrate="),
        Harness(broken.app, after=first) as second,
    ):
        second.send(broken.events, Event("a"))
    mended = first_release(store)
    with Harness(mended.app, after=first) as third:
        assert told(third, mended) == ["None", "Visits(count=1)", "Visits(count=2)"]
        assert third.dead_letters() == []
