"""What somebody who plans a deployment knows, or assumes."""

from __future__ import annotations

from dataclasses import dataclass

from streamserve.ops.sizing import constants

__all__ = ["Deployment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A load, and what it is to run on; every figure is positive, and may be a fraction where that makes sense.

    ``hit_rate`` is the share of feature rows found in a worker's cache, ``None`` without features; ``cpu_us`` the
    processor time of a record in all, ``None`` for what ``level`` measured here. ``output_partitions`` of ``None`` are
    as many as ``partitions``. ``co_partitioned`` says that a record's output goes to the partition that it came from:
    same key, same number of partitions. ``round_trip_ms`` is to the brokers and back, and between them. ``busy`` is
    the share of its capacity that a worker may be given: the rest is for bursts and for catching up.

    >>> Deployment(records_per_second=50_000, partitions=12).cpu_us_per_record
    4.4

    Raises:
        ValueError: a figure is out of its range, with what it may be.
    """

    records_per_second: float
    partitions: int
    record_bytes: int = 125
    level: str = "score"
    cpu_us: float | None = None
    hit_rate: float | None = None
    output_partitions: int | None = None
    co_partitioned: bool = False
    commit_interval_ms: float = 100.0
    state_keys: int = 0
    state_bytes: int = 100
    replication: int = 3
    round_trip_ms: float = 0.5
    session_timeout_s: float = 10.0
    busy: float = 0.7
    core_hour_price: float = 0.05

    def __post_init__(self) -> None:
        _require(self.records_per_second > 0, "records_per_second", "more than 0")
        _require(self.partitions >= 1, "partitions", "1 or more, as many as the input topic has")
        _require(self.record_bytes >= 1, "record_bytes", "1 or more")
        _require(self.level in constants.RECORD_US, "level", f"one of {', '.join(constants.RECORD_US)}")
        _require(self.cpu_us is None or self.cpu_us > 0, "cpu_us", "more than 0")
        _require(self.hit_rate is None or 0 <= self.hit_rate <= 1, "hit_rate", "between 0 and 1")
        _require(self.output_partitions is None or self.output_partitions >= 1, "output_partitions", "1 or more")
        _require(self.commit_interval_ms > 0, "commit_interval_ms", "more than 0")
        _require(self.state_keys >= 0 and self.state_bytes >= 0, "state_keys and state_bytes", "0 or more")
        _require(self.replication >= 1, "replication", "1 or more")
        _require(self.round_trip_ms >= 0 and self.session_timeout_s > 0, "round trip and session", "positive")
        _require(0 < self.busy < 1, "busy", "between 0 and 1, such as 0.7")
        _require(self.core_hour_price >= 0, "core_hour_price", "0 or more")

    @property
    def cpu_us_per_record(self) -> float:
        """Return the processor time that a record takes in all."""
        if self.cpu_us is not None:
            return self.cpu_us
        state = constants.STATE_US if self.state_keys else 0.0
        return constants.RECORD_US[self.level] + self._feature_us + state

    @property
    def _feature_us(self) -> float:
        if self.hit_rate is None:
            return 0.0
        return constants.FEATURE_US + (1 - self.hit_rate) * constants.FEATURE_MISS_US

    def owned(self, workers: int) -> int:
        """Return the partitions of the worker that has most of them: the one that has to keep up.

        >>> Deployment(records_per_second=1, partitions=10).owned(4)
        3
        """
        return -(-self.partitions // workers)

    def rate(self, workers: int) -> float:
        """Return the records a second of that worker, where all partitions get the same."""
        return self.records_per_second * self.owned(workers) / self.partitions

    def reachable(self, workers: int) -> int:
        """Return the partitions of outputs and changelogs that one worker writes to."""
        outputs = self.owned(workers) if self.co_partitioned else self.output_partitions or self.partitions
        return outputs + (self.owned(workers) if self.state_keys else 0)


def _require(holds: bool, name: str, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} has to be {allowed}")
