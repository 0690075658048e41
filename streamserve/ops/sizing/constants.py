"""What the model of a deployment stands on: measured on one machine, each with the command that measures it again.

The machine was shared: two cores of a server processor, the broker beside the workers. Where yours differs, give what
you have measured (``--cpu-us``, ``--round-trip``); what is derived from these figures goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECORD_US: Final[Mapping[str, float]] = {"score": 4.4, "agent": 7.5}
"""Processor time of a worker for a record of 125 bytes, by how the app is written: ``app.score``, or an agent of one
event at a time, with a model of 100 trees (``streamserve bench``). A larger model, or code of yours, takes more."""
FEATURE_US: Final = 1.3
"""What a feature row adds that is in the cache (``streamserve bench``)."""
FEATURE_MISS_US: Final = 55.0
"""What a row adds that Feast's SQLite store is asked for, in batches (``tests.benchmarks.scaling features``)."""
STATE_US: Final = 2.2
"""Reading, changing and writing a key of a table (``python -m tests.benchmarks.state_apps``)."""

COMMIT_MS: Final = 5.0
"""How long a worker stands still for a commit that writes to few partitions, on the broker's machine
(``python -m tests.benchmarks.scaling commits``)."""
PARTITION_MS: Final = 0.5
"""What each partition adds that the transaction writes to; the same command. The broker's work for it is in here."""
COMMIT_ROUND_TRIPS: Final = 3
"""Requests of a commit that wait for each other: AddOffsetsToTxn, TxnOffsetCommit, EndTxn. The outputs are delivered
beside the first two (``kafka/transaction.py``)."""

LINGER_MS: Final = 5.0
BATCH_BYTES: Final = 1 << 18
"""What a producer collects for a partition before it sends a request (``kafka/clients.py``)."""
POLL_RECORDS: Final = 4_096
RECORDS_PER_TRANSACTION: Final = 200_000
"""``max_poll_records`` and ``max_transaction_records``."""
LOG_APPENDS: Final = 4
"""Records that a transaction leaves in the coordinator's own log: its partitions, its group, and the two states of its
end (KIP-98)."""
MARK_BYTES: Final = 130
"""A committed offset with the mark beside it (``kafka/marks.py``), as a record of ``__consumer_offsets``."""

HEARTBEAT_SECONDS: Final = 3.0
"""After this long, or a quarter of the session, a member learns of a rebalance (``kafka/clients.py``)."""
RESTORE_KEYS: Final = 900_000
RESTORE_BYTES: Final = 90_000_000
"""What a worker restores in a second, in keys and in bytes (``python -m tests.benchmarks.state_restore``)."""
OPEN_PARTITION_MS: Final = 2.4
"""What taking over a partition costs without anything to restore: requests for offsets, ends and positions
(``python -m tests.benchmarks.scaling commits``, from the assignment of many partitions until they are read)."""
KEY_BYTES: Final = 143
"""Memory of a key beside its value's own bytes (``python -m tests.benchmarks.state``)."""
WORKER_MIB: Final = 200
"""Memory of a worker with its buffers, without Feast or state (``python -m tests.benchmarks.scaling memory``)."""
