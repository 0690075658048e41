from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve.state.disk import DiskStore
from streamserve.state.store import MemoryStore, Store

keys = st.sampled_from([b"", b"\x00", b"\x00x", b"a", b"ab", b"b", b"\xff"])
writes = st.lists(st.tuples(keys, st.none() | st.binary(max_size=3)))


def test_a_later_value_of_a_key_wins_and_none_deletes(new_store: Callable[[], Store]) -> None:
    store = new_store()
    store.write([b"a", b"b", b"a", b"b"], [b"1", b"2", b"3", None])
    assert store.get_many([b"a", b"b"]) == [b"3", None]
    assert store.get(b"a") == b"3"


def test_a_range_takes_in_its_start_and_leaves_out_its_stop(new_store: Callable[[], Store]) -> None:
    store = new_store()
    store.write([b"c", b"a", b"b"], [b"3", b"1", b"2"])
    assert [key for key, _ in store.items(b"b")] == [b"b", b"c"]
    assert [key for key, _ in store.items(b"a", b"c")] == [b"a", b"b"]


def test_items_do_not_show_later_writes(new_store: Callable[[], Store]) -> None:
    store = new_store()
    store.write([b"a", b"b"], [b"1", b"2"])
    items = store.items()
    store.write([b"a", b"b", b"c"], [b"9", None, b"3"])
    assert list(items) == [(b"a", b"1"), (b"b", b"2")]


def test_a_cleared_store_is_empty_and_usable(new_store: Callable[[], Store]) -> None:
    store = new_store()
    store.write([b"a"], [b"1"])
    store.clear()
    assert (list(store.items()), store.get(b"a"), store.opened_at, store.estimated_size()) == ([], None, None, 0)
    store.write([b"b"], [b"2"])
    assert (list(store.items()), store.estimated_size()) == ([(b"b", b"2")], 1)


def test_nothing_asked_for_is_nothing_found(new_store: Callable[[], Store]) -> None:
    assert new_store().get_many([]) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(writes, max_size=4), keys, st.none() | keys)
def test_the_disk_store_equals_the_memory_store(
    batches: list[list[tuple[bytes, bytes | None]]], start: bytes, stop: bytes | None
) -> None:
    with TemporaryDirectory() as folder:
        memory, disk = MemoryStore(), DiskStore(Path(folder))
        for batch in batches:
            for store in (memory, disk):
                store.write([key for key, _ in batch], [value for _, value in batch])
        everything = [b"", b"\x00", b"a", b"b", b"nowhere"]
        assert disk.get_many(everything) == memory.get_many(everything) == list(map(disk.get, everything))
        assert list(disk.items(start, stop)) == list(memory.items(start, stop))
        disk.close(None)
