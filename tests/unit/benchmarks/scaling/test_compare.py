from __future__ import annotations

import pytest

from tests.benchmarks.scaling.compare import fit, predicted
from tests.benchmarks.scaling.runs import Found
from tests.benchmarks.scaling.worker import Job


def found(partitions: int, *, commits: int = 20, level: str = "score") -> Found:
    """A run with 5 us a record, and commits of 4 + p / 2 ms that take 1,000 + 100 p us of processor time."""
    records = 100_000
    job = Job(app="a", brokers="b", level=level, records=records, keys=10, partitions=partitions, workers=1)
    cpu_us = 5 + commits * (1_000 + 100 * partitions) / records
    return Found(
        job=job,
        cpu_us=cpu_us,
        commit_ms=4 + partitions / 2,
        commits=commits,
        rss_mib=100,
        peak_mib=120,
        open_ms=2.0 * partitions,
        requests={},
    )


def test_constants_come_back_from_runs_that_follow_them() -> None:
    constants = fit([found(partitions, commits=commits) for partitions in (2, 64) for commits in (10, 80)])
    assert constants["COMMIT_MS"] == pytest.approx(4)
    assert constants["PARTITION_MS"] == pytest.approx(0.5)
    assert constants["record_us"] == pytest.approx(5)
    assert constants["commit_cpu_us"] == pytest.approx(1_000)
    assert constants["partition_cpu_us"] == pytest.approx(100)
    assert constants["OPEN_PARTITION_MS"] == pytest.approx(2)


def test_one_number_of_partitions_draws_no_line() -> None:
    with pytest.raises(ValueError, match="two or more"):
        fit([found(8), found(8, commits=80)])


def test_the_model_is_asked_about_transactions_of_the_size_that_was_measured() -> None:
    said = predicted(found(8))
    assert said["Produce"] == pytest.approx(8, abs=2)
    assert predicted(found(8, level="table"))["requests"] > said["requests"] + 1
