"""How long transactions are waited for before the engine says that nobody ends them."""

from __future__ import annotations

import time

from streamserve.durations import to_milliseconds
from streamserve.errors import BrokerUnavailable
from streamserve.settings import Settings

_SWEEP_SECONDS = 30.0
"""What a broker under load may take to end a transaction whose time is up; it looks for them every 10 s."""
_STEP_SECONDS = 5.0


class Patience:
    """Waits for transactions of this app: none of them stays open for longer than ``transaction_timeout``.

    One that does is hanging: its end was written down, but did not reach every partition, and no broker comes back to
    it. Brokers of Kafka 4.1 to 4.3 leave one behind when they stop, or are cut off, while partitions that it wrote to
    have no other leader (KAFKA-20734). Only an operator can tell how it should end.

    Time in which nobody asks counts little: a process that was stopped for a while has not waited.
    """

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.transaction_timeout
        self._seconds = to_milliseconds(settings.transaction_timeout) / 1000 + _SWEEP_SECONDS
        self.renew()

    def renew(self) -> None:
        """Begin anew: what was waited for has moved."""
        self._waited, self._asked_at = 0.0, time.monotonic()

    def wait_for(self, what: str) -> None:
        """Go on waiting for the transaction that holds ``what`` back.

        Raises:
            BrokerUnavailable: it should have ended long ago.
        """
        now = time.monotonic()
        self._waited += min(now - self._asked_at, _STEP_SECONDS)
        self._asked_at = now
        if self._waited > self._seconds:
            raise BrokerUnavailable(
                f"{what}: held back for {self._waited:.0f} s by a transaction, though this app's end within"
                f" {self._timeout} (STREAMSERVE_TRANSACTION_TIMEOUT). It hangs: 'kafka-transactions.sh find-hanging'"
                " names it, and 'abort' ends it, after which the worker goes on from what is committed."
            )
