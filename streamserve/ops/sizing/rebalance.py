"""What happens when a worker comes or goes: who gets which partitions, and how long they stand still."""

from __future__ import annotations

from itertools import pairwise

from streamserve.ops.sizing import constants
from streamserve.ops.sizing.deployment import Deployment

__all__ = ["most_moved", "restore_seconds", "stop_seconds"]


def most_moved(partitions: int, workers: int) -> int:
    """Return the most partitions that one worker takes over when another one leaves, whichever it is.

    Kafka's ``range`` assignor gives each member, in the order of their names, the next partitions in a row. So others
    than those of the one that leaves move too; what a worker keeps, it need not restore.

    >>> most_moved(12, 4), most_moved(12, 2), most_moved(100, 1)
    (3, 6, 0)
    """
    if workers == 1:
        return 0
    before, after = _ranges(partitions, workers), _ranges(partitions, workers - 1)
    return max(
        len(set(after[left]) - set(before[left if left < gone else left + 1]))
        for gone in {0, workers // 2, workers - 1}
        for left in range(workers - 1)
    )


def _ranges(partitions: int, workers: int) -> list[range]:
    """Return the partitions of each worker: the first ones have one more where they do not divide evenly."""
    each, more = divmod(partitions, workers)
    starts = [each * number + min(number, more) for number in range(workers + 1)]
    return [range(start, stop) for start, stop in pairwise(starts)]


def restore_seconds(deployment: Deployment, moved: int) -> float:
    """Return how long a worker takes until it reads ``moved`` partitions, their state restored."""
    keys = deployment.state_keys * moved / deployment.partitions
    loading = max(keys / constants.RESTORE_KEYS, keys * deployment.state_bytes / constants.RESTORE_BYTES)
    asking_ms = constants.OPEN_PARTITION_MS + deployment.round_trip_ms * (2 if deployment.state_keys else 1)
    return moved * asking_ms / 1e3 + loading


def stop_seconds(deployment: Deployment) -> float:
    """Return how long a rebalance takes at most before anything is restored: until the last member has heard of it."""
    return min(deployment.session_timeout_s / 4, constants.HEARTBEAT_SECONDS)
