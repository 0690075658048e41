from __future__ import annotations

from datetime import timedelta

from streamserve.clock import ManualClock
from streamserve.features.cache import RowCache
from streamserve.features.rows import row_of

ROW = row_of(["value"], {"value": 1.0}, 0)


def test_the_rows_put_in_first_go_first_when_there_are_too_many() -> None:
    cache = RowCache(max_age=timedelta(seconds=1), max_rows=2, clock=ManualClock())
    cache.put({"a": ROW, "b": ROW})
    cache.put({"a": ROW})
    cache.put({"c": ROW})
    assert cache.lookup(["a", "b", "c"])[1] == ["b"]
    assert len(cache) == 2


def test_no_time_in_the_cache_means_never_answered_from_it() -> None:
    cache = RowCache(max_age=timedelta(0), clock=ManualClock())
    cache.put({"a": ROW})
    assert cache.lookup(["a"]) == ({}, ["a"])
