"""At which calls workers die in the tests of crash points, and what leads them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamserve.kafka.calls import CALL_NAMES

EVENTS = 300
"""Inputs for one death."""
SMALL = {"max_poll_records": "50", "commit_interval": "1ms"}
"""Small transactions: several for so few events."""
LONG = {"max_poll_records": "1", "commit_interval": "10s"}
"""One transaction over many polls: whichever poll fails, it is open."""
BRIEF = {"session_timeout": "2s"}
"""For a worker that does not come back: the next waits until its session has ended."""
OPEN = "producer.send_offsets:after:3:kill"
"""A death with a transaction open whose offsets are sent, after others have been committed."""

PREPARATION = {
    "producer.abort_transaction": "".join(f"consumer.poll:before:{number}:raise," for number in range(150, 1200, 250)),
    "consumer.close": "producer.flush:before:2:raise,",
}
"""Failures that lead to a call that only an incarnation's end makes; one of the polls meets an open transaction."""
ONLY_AFTER_A_DEAD_OWNER = {"group.describe", "fence.init_transactions"}
ONLY_WITH_STATE = {"consumer.seek", "changelog.high_watermark", "changelog.read", *ONLY_AFTER_A_DEAD_OWNER}
ONLY_AT_A_STOP = {"consumer.stable_end"}
ONLY_OF_TABLES_AND_GROUPINGS = {"consumer.delete_records", *ONLY_AT_A_STOP}
"""Calls that an app without tables on disk and regrouped topics does not make."""
ORDINALS = {
    "consumer.poll": 30,
    "producer.produce": 3,
    "producer.flush": 2,
    "producer.send_offsets": 2,
    "producer.begin_transaction": 2,
    "producer.commit_transaction": 2,
    "producer.init_transactions": 2,
}
"""The call at which a transaction is open, or offsets have been committed before; else the first."""

CALLS_WITHOUT_TABLES = tuple(call for call in CALL_NAMES if call not in ONLY_OF_TABLES_AND_GROUPINGS)


@dataclass(frozen=True, slots=True)
class Death:
    """A worker ``instance`` that dies of ``fault``; one that ``is_stopped`` before it comes to it."""

    fault: str
    instance: str = "w0"
    is_stopped: bool = False

    @property
    def settings(self) -> dict[str, str]:
        """Return the worker's own."""
        long = LONG if "abort_transaction" in self.fault else SMALL
        return long if self.instance == "w0" else {**long, **BRIEF}


def deaths(call: str) -> Iterator[Death]:
    """Yield the deaths that bring an app to ``call``, one before it and one after it among them."""
    before, after = (
        Death(f"{PREPARATION.get(call, '')}{call}:{when}:{ORDINALS.get(call, 1)}:kill", "w0", call in ONLY_AT_A_STOP)
        for when in ("before", "after")
    )
    first_owner = Death(OPEN, "w1" if call in ONLY_AFTER_A_DEAD_OWNER else "w0")
    if call in ONLY_WITH_STATE:
        yield first_owner
    yield before
    if call in ONLY_AFTER_A_DEAD_OWNER:
        yield first_owner
    yield after
