from __future__ import annotations

from collections.abc import Callable

import pytest

from streamserve.state.expiry import MOST_AT_ONCE, ExpiryIndex, MemoryExpiry, StoredExpiry, bucket_width
from streamserve.state.format import TIMER, pack_head
from streamserve.state.store import MemoryStore


@pytest.fixture(params=["memory", "stored"])
def new_index(request: pytest.FixtureRequest) -> Callable[[int], ExpiryIndex]:
    if request.param == "memory":
        return MemoryExpiry
    return lambda width_ms: StoredExpiry(width_ms, MemoryStore())


def test_a_key_is_due_when_its_bucket_has_ended(new_index: Callable[[int], ExpiryIndex]) -> None:
    index = new_index(10)
    index.note([b"a", b"b"], [pack_head(9), pack_head(10)])
    assert index.due(9) == []
    assert index.due(10) == [b"a"]
    assert index.due(19) == []
    assert index.due(20) == [b"b"]


def test_times_before_the_epoch_count_too(new_index: Callable[[int], ExpiryIndex]) -> None:
    index = new_index(10)
    index.note([b"a", b"b"], [pack_head(-15), pack_head(-5)])
    assert index.due(-10) == [b"a"]
    assert index.due(0) == [b"b"]


def test_tombstones_and_timers_are_not_noted(new_index: Callable[[int], ExpiryIndex]) -> None:
    index = new_index(10)
    index.note([b"a", TIMER + b"b"], [None, pack_head(0)])
    assert index.due(1_000) == []


def test_a_key_written_in_two_buckets_is_due_in_both(new_index: Callable[[int], ExpiryIndex]) -> None:
    index = new_index(10)
    for stamp_ms in (0, 5, 25):
        index.note([b"a"], [pack_head(stamp_ms)])
    assert (index.due(10), index.due(30)) == ([b"a"], [b"a"])


def test_no_more_than_a_bounded_number_is_due_at_once(new_index: Callable[[int], ExpiryIndex]) -> None:
    index, keys = new_index(10), [b"%d" % number for number in range(MOST_AT_ONCE + 1)]
    index.note(keys, [pack_head(0)] * len(keys))
    first, second, third = index.due(10), index.due(10), index.due(10)
    assert (len(first), len(second), third) == (MOST_AT_ONCE, 1, [])
    assert sorted(first + second) == sorted(keys)


def test_a_stored_index_is_found_again_by_whoever_opens_the_store() -> None:
    store = MemoryStore()
    StoredExpiry(10, store).note([b"a"], [pack_head(0)])
    assert StoredExpiry(10, store).due(10) == [b"a"]
    assert store.estimated_size() == 0


def test_a_bucket_is_never_of_no_width() -> None:
    assert (bucket_width(1), bucket_width(3_200)) == (1, 100)
