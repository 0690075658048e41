from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from streamserve.errors import AgentError, ConfigurationError, EncodeError, MissingKey
from streamserve.state.base import ChangelogState
from streamserve.state.definition import TableDefinition
from streamserve.state.format import PAYLOAD, pack_head, unpack_stamp
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore, Store
from streamserve.state.table import TableState


class Total(msgspec.Struct, frozen=True):
    flights: int = 0
    delay: float = 0.0


class Extended(msgspec.Struct, frozen=True):
    flights: int
    carrier: str


def _totals(
    default: Callable[[], Total] | None = Total,
    ttl_ms: int | None = None,
) -> TableDefinition[Total]:
    decode = msgspec.json.Decoder(Total).decode
    return TableDefinition("totals", msgspec.json.encode, decode, default=default, ttl_ms=ttl_ms, is_frozen=True)


def _counts() -> TableDefinition[dict[str, int]]:
    decode = msgspec.json.Decoder(dict[str, int]).decode
    return TableDefinition("counts", msgspec.json.encode, decode, default=dict[str, int])


def _set(table: TableState[Any], key: bytes, value: Any, now_ms: int = 0) -> None:
    event = Pending(now_ms)
    table.set(event, key, value)
    event.commit()


def _restored(definition: TableDefinition[Any], *parts: tuple[list[bytes], list[bytes | None]]) -> TableState[Any]:
    table = TableState(definition, MemoryStore())
    for keys, values in parts:
        table.load(keys, values)
    table.loaded()
    return table


def test_an_event_sees_its_own_changes_and_others_do_not_until_it_commits() -> None:
    table = TableState(_totals(), MemoryStore())
    event, other = Pending(0), Pending(0)
    table.set(event, b"EWR", Total(1))
    assert table.get(event, b"EWR") == Total(1)
    assert not table.contains(other, b"EWR")
    event.commit()
    assert table.get(other, b"EWR") == Total(1)


def test_an_event_that_is_dropped_leaves_nothing() -> None:
    table = TableState(_totals(), MemoryStore())
    event = Pending(0)
    table.set(event, b"EWR", Total(1))
    table.set_timer(event, b"EWR", 5)
    del event
    state: ChangelogState = table
    assert state.take_changes() == ([], [])
    assert table.due(10) == []


def test_a_default_is_read_but_not_stored() -> None:
    table = TableState(_totals(), MemoryStore())
    event = Pending(0)
    assert table.get(event, b"EWR") == Total()
    assert not table.contains(event, b"EWR")
    event.commit()
    assert table.take_changes() == ([], [])


def test_an_absent_key_without_a_default_is_a_key_error_that_names_the_table_and_a_remedy_but_not_the_key() -> None:
    table = TableState(_totals(default=None), MemoryStore())
    with pytest.raises(KeyError, match=r"'totals'.*default=") as caught:
        table.get(Pending(0), b"secret")
    assert isinstance(caught.value, MissingKey)
    assert "secret" not in str(caught.value)


def test_a_deleted_key_reads_as_absent_and_tells_whether_it_was_there() -> None:
    table = TableState(_totals(), MemoryStore())
    _set(table, b"EWR", Total(1))
    event = Pending(0)
    assert table.delete(event, b"EWR")
    assert not table.delete(event, b"EWR")
    assert (table.contains(event, b"EWR"), table.get(event, b"EWR")) == (False, Total())
    event.commit()
    assert table.take_changes() == ([b"EWR"], [None])


def test_changes_are_the_last_value_of_each_key_and_taken_once() -> None:
    table = TableState(_totals(), MemoryStore())
    for flights in (1, 2, 3):
        _set(table, b"EWR", Total(flights), now_ms=flights)
    keys, values = table.take_changes()
    assert (keys, values) == ([b"EWR"], [pack_head(3) + msgspec.json.encode(Total(3))])
    assert table.take_changes() == ([], [])
    assert table.get(Pending(0), b"EWR") == Total(3)


@pytest.mark.parametrize("key", [b"", b"\x00", b"\x00tEWR", b"\x00kEWR", b"EWR", b"\xff"])
def test_any_bytes_are_a_key_and_come_back_after_a_restore(key: bytes) -> None:
    table = TableState(_totals(), MemoryStore())
    event = Pending(0)
    table.set(event, key, Total(1))
    table.set_timer(event, key, 7)
    event.commit()
    again = _restored(_totals(), table.take_changes())
    assert list(again.items(Pending(0))) == [(key, Total(1))]
    assert again.due(7) == [(key, 7)]


def test_iteration_goes_by_key_over_store_changes_and_the_events_own(new_store: Callable[[], Store]) -> None:
    table = TableState(_totals(), new_store())
    for key in (b"c", b"\x00", b"a", b"e"):
        _set(table, key, Total(1))
    table.take_changes()
    _set(table, b"d", Total(2))
    event = Pending(0)
    table.set(event, b"b", Total(3))
    table.delete(event, b"e")
    seen = [(key, total.flights) for key, total in table.items(event)]
    assert seen == [(b"\x00", 1), (b"a", 1), (b"b", 3), (b"c", 1), (b"d", 2)]


def test_an_iteration_may_delete_and_update_as_it_goes() -> None:
    table = TableState(_totals(), MemoryStore())
    for key in (b"a", b"b", b"c"):
        _set(table, key, Total(1))
    event, seen = Pending(0), list[bytes]()
    for key, _ in table.items(event):
        seen.append(key)
        table.delete(event, b"b")
        table.update(event, key, lambda total: Total(total.flights + 1))
        table.set(event, b"new" + key, Total())
    event.commit()
    assert seen == [b"a", b"c"]
    assert [key for key, _ in table.items(Pending(0))] == [b"a", b"c", b"newa", b"newc"]


def test_a_value_changed_in_place_fails_the_event_and_names_update() -> None:
    table = TableState(_counts(), MemoryStore())
    _set(table, b"EWR", {"UA": 1})
    event = Pending(0)
    table.get(event, b"EWR")["UA"] = 2
    with pytest.raises(AgentError, match=r"'counts'.*table\.update\(key, fn\)"):
        event.commit()
    assert table.get(Pending(0), b"EWR") == {"UA": 1}


def test_a_default_changed_in_place_and_a_value_changed_after_its_set_fail_too() -> None:
    table = TableState(_counts(), MemoryStore())
    event = Pending(0)
    table.get(event, b"EWR")["UA"] = 1
    with pytest.raises(AgentError):
        event.commit()
    event, value = Pending(0), {"UA": 1}
    table.set(event, b"EWR", value)
    value["UA"] = 2
    with pytest.raises(AgentError):
        event.commit()


def test_a_failed_commit_leaves_no_table_changed() -> None:
    first, second = TableState(_totals(), MemoryStore()), TableState(_counts(), MemoryStore())
    event = Pending(0)
    first.set(event, b"EWR", Total(1))
    second.get(event, b"EWR")["UA"] = 1
    with pytest.raises(AgentError):
        event.commit()
    assert first.take_changes() == ([], [])


def test_update_may_change_in_place_and_a_value_read_twice_is_the_same_object() -> None:
    table = TableState(_counts(), MemoryStore())
    event = Pending(0)
    assert table.update(event, b"EWR", lambda counts: counts | {"UA": 1}) == {"UA": 1}

    def add(counts: dict[str, int]) -> dict[str, int]:
        counts["B6"] = 2
        return counts

    table.update(event, b"EWR", add)
    assert table.get(event, b"EWR") is table.get(event, b"EWR")
    event.commit()
    assert table.get(Pending(0), b"EWR") == {"UA": 1, "B6": 2}


def test_an_unchanged_value_of_an_older_encoding_is_not_taken_for_changed() -> None:
    table = _restored(_counts(), ([b"EWR"], [pack_head(0) + b'{ "UA" : 1 }']))
    event = Pending(0)
    assert table.get(event, b"EWR") == {"UA": 1}
    event.commit()


def test_a_value_that_does_not_encode_fails_where_it_is_set() -> None:
    table = TableState(_totals(), MemoryStore())
    with pytest.raises(EncodeError, match=r"'totals'.*object"):
        table.set(Pending(0), b"EWR", object())  # pyright: ignore[reportArgumentType]


def test_an_encoders_words_are_not_repeated_where_they_may_hold_the_value() -> None:
    def refuse(value: Total) -> bytes:
        raise ValueError(f"secret {value}")

    table = TableState(TableDefinition("totals", refuse, msgspec.json.Decoder(Total).decode), MemoryStore())
    with pytest.raises(EncodeError, match="ValueError") as caught:
        table.set(Pending(0), b"EWR", Total())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def _with_old_value(migrate: Callable[[Any], Extended] | None = None) -> TableState[Extended]:
    decode = msgspec.json.Decoder(Extended).decode
    definition = TableDefinition("extended", msgspec.json.encode, decode, migrate=migrate)
    return _restored(definition, ([b"EWR"], [pack_head(0) + b'{"flights":77123}']))


def test_a_value_of_an_older_model_names_the_table_the_rule_and_the_remedies() -> None:
    with pytest.raises(ConfigurationError, match=r"'extended'.*`carrier`.*defaults.*migrate=.*changelog") as caught:
        _with_old_value().get(Pending(0), b"EWR")
    assert "77123" not in str(caught.value)


def test_migrate_makes_todays_value_from_the_old_json() -> None:
    table = _with_old_value(migrate=lambda old: Extended(old["flights"], "unknown"))
    assert table.get(Pending(0), b"EWR") == Extended(77123, "unknown")


def test_a_migrate_that_raises_is_named() -> None:
    table = _with_old_value(migrate=lambda old: Extended(old["flights"], old["carrier"]))
    with pytest.raises(ConfigurationError, match=r"migrate= raised on a stored value: KeyError"):
        table.get(Pending(0), b"EWR")


def test_a_record_of_another_format_version_stops_the_restore() -> None:
    with pytest.raises(ConfigurationError, match="format version 9"):
        _restored(_totals(), ([b"EWR"], [b"\x09{}"]))


def test_find_many_reads_what_finished_events_left(new_store: Callable[[], Store]) -> None:
    table = TableState(_totals(ttl_ms=100), new_store())
    _set(table, b"old", Total(1), now_ms=0)
    table.take_changes()
    _set(table, b"new", Total(2), now_ms=90)
    unfinished = Pending(0)
    table.set(unfinished, b"unfinished", Total(3))
    keys = [b"old", b"new", b"unfinished", b"old"]
    assert table.find_many(keys, [100, 100, 100, 101]) == [Total(1), Total(2), None, None]


def test_a_value_lives_through_its_ttl_and_not_a_millisecond_longer() -> None:
    table = TableState(_totals(ttl_ms=100), MemoryStore())
    _set(table, b"EWR", Total(1), now_ms=1_000)
    assert table.contains(Pending(1_100), b"EWR")
    assert not table.contains(Pending(1_101), b"EWR")
    assert list(table.items(Pending(1_101))) == []
    table.advance(1_101)
    assert not table.contains(Pending(1_000), b"EWR")


def test_expired_values_become_tombstones_once(new_store: Callable[[], Store]) -> None:
    table = TableState(_totals(ttl_ms=3_200), new_store())
    for now_ms in (0, 1_000, 2_000):
        _set(table, b"%d" % now_ms, Total(), now_ms)
    table.take_changes()
    assert table.advance(3_300) == 1
    assert table.take_changes() == ([b"0"], [None])
    assert (table.advance(3_300), table.advance(3_200)) == (0, 0)
    assert table.advance(10_000) == 2


def test_a_value_written_again_lives_on(new_store: Callable[[], Store]) -> None:
    table = TableState(_totals(ttl_ms=3_200), new_store())
    for now_ms in (0, 3_000):
        _set(table, b"EWR", Total(), now_ms)
        table.take_changes()
    assert table.advance(6_200) == 0
    assert table.contains(Pending(6_200), b"EWR")
    assert table.advance(6_400) == 1


def test_a_late_event_does_not_shorten_a_life() -> None:
    table = TableState(_totals(ttl_ms=100), MemoryStore())
    _set(table, b"EWR", Total(1), now_ms=1_000)
    _set(table, b"EWR", Total(2), now_ms=950)
    assert table.get(Pending(1_100), b"EWR") == Total(2)
    _, values = table.take_changes()
    assert unpack_stamp(values[0] or b"") == 1_000


def test_a_late_value_that_is_already_too_old_is_read_by_its_event_and_then_gone() -> None:
    table = TableState(_totals(ttl_ms=100), MemoryStore())
    table.advance(1_000)
    event = Pending(800)
    table.set(event, b"EWR", Total(1))
    assert table.get(event, b"EWR") == Total(1)
    event.commit()
    assert not table.contains(Pending(800), b"EWR")


def test_a_flood_of_expiries_is_spread_over_several_transactions(new_store: Callable[[], Store]) -> None:
    table = TableState(_totals(ttl_ms=32), new_store())
    payload = pack_head(0) + msgspec.json.encode(Total())
    table.load([b"%d" % number for number in range(25_000)], [payload] * 25_000)
    table.loaded()
    assert not table.contains(Pending(100), b"24999")
    assert [table.advance(100) for _ in range(4)] == [10_000, 10_000, 5_000, 0]


def test_a_ttl_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        _totals(ttl_ms=0)


def test_timers_come_due_once_and_their_end_is_a_tombstone() -> None:
    table = TableState(_totals(), MemoryStore())
    event = Pending(0)
    for key, at_ms in ((b"b", 20), (b"a", 20), (b"c", 10), (b"d", 30)):
        table.set_timer(event, key, at_ms)
    table.set_timer(event, b"c", 25)
    event.commit()
    assert len(table.take_changes()[0]) == 4
    assert table.due(25) == [(b"a", 20), (b"b", 20), (b"c", 25)]
    assert table.take_changes() == ([b"\x00ta", b"\x00tb", b"\x00tc"], [None] * 3)
    assert table.due(25) == []


def test_a_key_has_a_timer_of_each_clock_which_know_nothing_of_each_other() -> None:
    table = TableState(_totals(), MemoryStore())
    event = Pending(0)
    table.set_timer(event, b"a", 10)
    table.set_timer(event, b"a", 20, "processing")
    table.set_timer(event, b"b", 15, "processing")
    event.commit()
    again = _restored(_totals(), table.take_changes())
    for state in (table, again):
        assert (state.next_timer("event"), state.next_timer("processing")) == (10, 15)
        assert state.due(99, "processing") == [(b"b", 15), (b"a", 20)]
        assert state.next_timer("processing") is None
        assert state.due(99) == [(b"a", 10)]


def test_a_changelog_written_before_there_were_processing_time_timers_still_reads() -> None:
    table = TableState(_totals(), MemoryStore())
    table.load([b"EWR", b"\x00tEWR"], [b"\x01" + bytes(7) + b'\x05{"flights":3}', b"\x01" + bytes(7) + b"\x07"])
    table.loaded()
    assert table.get(Pending(5), b"EWR").flights == 3
    assert (table.next_timer("event"), table.next_timer("processing")) == (7, None)


def test_a_deleted_timer_does_not_come_and_a_deleted_key_keeps_its_timer() -> None:
    table = TableState(_totals(), MemoryStore())
    _set(table, b"b", Total(1))
    event = Pending(0)
    table.set_timer(event, b"a", 10)
    table.set_timer(event, b"b", 10)
    table.delete_timer(event, b"a")
    table.delete(event, b"b")
    event.commit()
    assert table.due(10) == [(b"b", 10)]


def test_a_batch_may_share_one_pending_with_a_time_for_each_record() -> None:
    table = TableState(_totals(), MemoryStore())
    batch = Pending(0)
    for now_ms in range(1, 101):
        batch.now_ms = now_ms
        table.update(batch, b"EWR", lambda total: Total(total.flights + 1))
    batch.commit()
    _, values = table.take_changes()
    assert values == [pack_head(100) + msgspec.json.encode(Total(100))]


def test_a_key_with_a_hundred_thousand_updates_stays_one_record() -> None:
    table = TableState(_totals(ttl_ms=1_000), store := MemoryStore())
    for now_ms in range(100_000):
        _set(table, b"hot", Total(now_ms), now_ms)
        if now_ms % 1_000 == 0:
            table.advance(now_ms)
            table.take_changes()
    assert store.estimated_size() == 1
    assert table.get(Pending(100_000), b"hot") == Total(99_999)


def test_a_frozen_value_in_use_is_decoded_when_it_is_written_and_not_when_it_is_read() -> None:
    decoded = list[bytes]()

    def decode(payload: bytes) -> Total:
        decoded.append(payload)
        return msgspec.json.decode(payload, type=Total)

    definition = TableDefinition("totals", msgspec.json.encode, decode, is_frozen=True)
    table = _restored(definition, ([b"EWR"], [pack_head(0) + msgspec.json.encode(Total())]))
    for _ in range(3):
        event = Pending(0)
        table.update(event, b"EWR", lambda total: Total(total.flights + 1))
        event.commit()
    for _ in range(3):
        assert table.get(Pending(0), b"EWR") == Total(3)
    assert len(decoded) == 1 + 3
    keys, values = table.take_changes()
    assert (keys, (values[0] or b"")[PAYLOAD:]) == ([b"EWR"], msgspec.json.encode(Total(3)))


@pytest.mark.parametrize("is_frozen", [True, False])
def test_what_could_not_be_read_back_is_refused_when_it_is_set(is_frozen: bool) -> None:
    decode = msgspec.json.Decoder(Total).decode
    table = TableState(TableDefinition("totals", msgspec.json.encode, decode, is_frozen=is_frozen), MemoryStore())
    said = "table 'totals': a value of type Total could not be read back: Expected `float`, got `null`"
    with pytest.raises(EncodeError, match=said):
        table.set(Pending(0), b"EWR", Total(1, float("nan")))
    assert table.take_changes() == ([], [])


def test_a_frozen_value_is_the_same_in_its_event_after_it_and_after_the_commit() -> None:
    class Stops(msgspec.Struct, frozen=True):
        at: tuple[str, ...]

    decode = msgspec.json.Decoder(Stops).decode
    table = TableState(TableDefinition("stops", msgspec.json.encode, decode, is_frozen=True), MemoryStore())
    changeable: Any = ["EWR"]
    event = Pending(0)
    table.set(event, b"UA", Stops(changeable))
    changeable.append("LGA")
    seen = [table.get(event, b"UA")]
    event.commit()
    seen.append(table.get(Pending(0), b"UA"))
    table.take_changes()
    seen.append(table.get(Pending(0), b"UA"))
    assert seen == [Stops(("EWR",))] * 3


def test_a_changeable_default_read_after_a_deletion_is_no_change_in_place() -> None:
    table = TableState(_counts(), MemoryStore())
    _set(table, b"EWR", {"UA": 1})
    event = Pending(1)
    assert table.delete(event, b"EWR")
    assert table.get(event, b"EWR") == {}
    event.commit()
    assert not table.contains(Pending(2), b"EWR")
