"""The commands that measure state on a real broker, at a size at which they measure nothing."""

from __future__ import annotations

import pytest

from tests.unit.benchmarks.test_state import printed

pytestmark = pytest.mark.broker

KEYS = 1000


def test_state_restore_tells_how_fast_a_changelog_comes_back(brokers: str) -> None:
    found = printed("state_restore", "--keys", str(KEYS), "--rounds", "1", "--brokers", brokers)
    rates = {"keys_per_second", "keys_per_cpu_second", "keys_per_second_of_the_thread"}
    assert set(found) == {"restore_memory", "restore_disk"}
    for figures in found.values():
        assert set(figures) == {"keys", "seconds"} | rates
        assert figures["keys"] == KEYS
        assert all(figures[rate] > 0 for rate in rates)


def test_state_restart_tells_when_the_first_record_is_answered(brokers: str) -> None:
    found = printed("state_restart", "--keys", str(KEYS), "--rounds", "1", "--brokers", brokers)
    figures = found["restart"]
    assert set(figures) == {"keys", "resident_mib", "first_record_s"}
    assert figures["keys"] == KEYS
    assert figures["resident_mib"] > 0
    [seconds] = figures["first_record_s"]
    assert 0 < seconds < 60
