"""The measuring command of ``streamserve size``'s constants."""

from __future__ import annotations

import pytest

from tests.benchmarks.scaling.compare import predicted
from tests.benchmarks.scaling.runs import measure

pytestmark = pytest.mark.broker


def test_workers_share_a_run_and_ask_brokers_for_what_the_model_says(brokers: str) -> None:
    found = measure(brokers, level="table", records=60_000, keys=100, partitions=4, workers=2, commit_interval_ms=20)
    assert found.commits >= 2
    assert found.cpu_us > 0
    for kind in ("AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"):
        assert found.requests[kind] == pytest.approx(1, abs=0.35)  # statistics are a fifth of a second late
    assert found.requests["AddPartitionsToTxn"] == pytest.approx(2, abs=0.9)
    assert predicted(found)["Produce"] == pytest.approx(found.requests["Produce"], rel=1.5)
