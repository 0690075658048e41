"""What transactions ask of brokers, by the steps of a commit."""

from __future__ import annotations

from dataclasses import dataclass

from streamserve.ops.sizing import constants
from streamserve.ops.sizing.cycle import Cycle
from streamserve.ops.sizing.deployment import Deployment

__all__ = ["Requests", "requests_of"]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one transaction, by kind, and the markers that the brokers write for it.

    >>> Requests(1, 4, 1, 1, 1, 5).of_the_client
    8
    """

    add_partitions: float
    """One for the outputs, and one for the changelogs, which are written when the transaction closes."""
    produce: float
    """One for each partition and batch of the worker's, but not more often than messages linger, or as they fill up."""
    add_offsets: float
    offset_commit: float
    end: float
    markers: float
    """One record in each partition that was written to, and one beside the committed offsets."""

    @property
    def of_the_client(self) -> float:
        """Return the requests that the worker sends."""
        return self.add_partitions + self.produce + self.add_offsets + self.offset_commit + self.end

    @property
    def appends(self) -> float:
        """Return the writes to logs, each of which brokers copy to the other replicas."""
        return self.produce + self.offset_commit + self.markers + constants.LOG_APPENDS


def requests_of(deployment: Deployment, cycle: Cycle) -> Requests:
    """Return what a transaction asks for."""
    polls = min(cycle.records / constants.POLL_RECORDS, cycle.open_seconds * 1e3 / constants.LINGER_MS)
    filled = cycle.records * deployment.record_bytes / cycle.touched / constants.BATCH_BYTES
    batches = min(max(1.0, polls, filled), max(1.0, cycle.records / cycle.touched))
    return Requests(
        add_partitions=2 if deployment.state_keys else 1,
        produce=cycle.touched * batches,
        add_offsets=1,
        offset_commit=1,
        end=1,
        markers=cycle.touched + 1,
    )
