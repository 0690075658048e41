"""Takeovers while the old owner's offsets are accepted and its changelog has not arrived: a proxy holds it on the wire.

Whoever restores then must wait for that transaction's end, or bring it about: the offsets count with the changelog, or
neither does.
"""

from __future__ import annotations

import os
import random
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamserve.testing.proxy import Api, Exchange, KafkaProxy, Rule
from tests.integration.driving import WorkerProcess
from tests.integration.state_driving import SMALL, StateDriver, spent_events
from tests.integration.takeover_endings import EVENTS, Ending, verdict

Arrival: TypeAlias = Literal["before", "after"]
"""When the changelog's records arrive: before the new owner comes, or once it is ready."""

_HEADER = 5  # of an answer: correlation id, no tags
_THROTTLE = 4
_FLEXIBLE_HEARTBEAT = 4
_REBALANCE_IN_PROGRESS = 27


@dataclass(frozen=True, slots=True)
class Queued:
    """The changelog is held from its ``first_request`` on; then the old owner ends, and ``successor`` takes over.

    It is killed; or stopped for as long as the other needs to become ready, which fences it: at once under the same
    name, else when its session is over; or lives on while another joins, and commits inside the rebalance if its
    records arrive in time.
    """

    ending: Ending
    first_request: int
    arrival: Arrival
    successor: str

    @classmethod
    def chosen(cls, ending: Ending, chance: random.Random) -> Queued:
        """Return a try in one of the first commits."""
        successor = "w1" if ending == "gives way" else chance.choice(("w0", "w0", "w1"))
        return cls(ending, chance.randrange(1, 7), chance.choice(("before", "after")), successor)

    def take_over(self, driver: StateDriver, first: int, seed: int) -> list[str]:
        """See ``Try``; the moment must have come, too."""
        with KafkaProxy(driver.brokers) as proxy:
            moment = Moment(proxy, driver, self.first_request)
            old = driver.start("w0", bootstrap_servers=proxy.address, **SMALL)
            everything = f"assigned: {[*range(driver.partitions)]}"
            driver.wait(lambda: old.said(everything) and old.said("ready"), "the only owner")
            driver.spend(spent_events(EVENTS, random.Random(seed), first=first))  # noqa: S311 - no secret
            driver.wait(moment.has_come, "offsets that are accepted before the changelog arrives")
            _end(old, self.ending)
            if self.arrival == "before" and self.ending != "gives way":
                moment.held.release()
            new = self._come(driver, moment)
            moment.held.release()
            if self.ending == "stands still":
                _signal(old, signal.SIGCONT)
            return [*moment.wrong(self), *verdict(driver, old, new)]

    def _come(self, driver: StateDriver, moment: Moment) -> WorkerProcess:
        """Let the new owner take over; return it once it is ready."""
        new = driver.start(self.successor, **SMALL)
        if self.ending == "gives way" and self.arrival == "before":
            driver.wait(moment.told_of_a_rebalance, "a member that waits for the old owner")
            moment.held.release()
        driver.wait(lambda: new.said("ready"), "the new owner")
        return new


class Moment:
    """Offsets of a transaction are accepted, and records of its changelog are on the wire."""

    def __init__(self, proxy: KafkaProxy, driver: StateDriver, first_request: int) -> None:
        changelog = f"{driver.app}-chains-changelog"
        self._ids = [f"{driver.app}.w0.{turn}" for turn in range(3)]
        self.held = proxy.on(
            Api.PRODUCE, "hold", first=first_request, where=lambda request: request.mentions(changelog)
        )
        self._offsets = proxy.on(Api.TXN_OFFSET_COMMIT, side="answer")
        self._ends = proxy.on(Api.END_TXN)
        self._heartbeats = proxy.on(Api.HEARTBEAT, side="answer")

    def has_come(self) -> bool:
        """Return whether the broker has accepted offsets of the transaction whose changelog is held."""
        held = self.held.exchanges
        return bool(held) and self._accepted(next(name for name in self._ids if held[0].request.mentions(name)))

    def _accepted(self, transactional_id: str) -> bool:
        """Return whether the last that is known of a transaction is that its offsets were accepted."""
        ended = _last(self._ends, transactional_id, lambda end: end.arrived_at)
        accepted = _last(
            self._offsets,
            transactional_id,
            lambda sent: sent.answered_at if _error(sent, _HEADER + _THROTTLE) == 0 else None,
        )
        return accepted > ended

    def told_of_a_rebalance(self) -> bool:
        """Return whether the group has asked the old owner to join again."""
        return any(_heartbeat_error(exchange) == _REBALANCE_IN_PROGRESS for exchange in self._heartbeats.exchanges)

    def wrong(self, item: Queued) -> list[str]:
        """Say so if the broker has taken records of an owner that was fenced by then."""
        if item.ending == "gives way" or item.arrival == "before":
            return []
        refused = [_error(exchange, _HEADER) for exchange in self.held.exchanges if exchange.answer is not None]
        taken = refused.count(0)
        return [f"{taken} of {len(refused)} changelog requests of a fenced owner were taken"] if taken else []


def _last(rule: Rule, transactional_id: str, when: Callable[[Exchange], float | None]) -> float:
    times = [when(exchange) for exchange in rule.exchanges if exchange.request.mentions(transactional_id)]
    return max((time for time in times if time is not None), default=0.0)


def _error(exchange: Exchange, at: int) -> int:
    """Return the first error of an answer whose topics, with partitions and their errors, begin at ``at``.

    So are answers to Produce 9 and TxnOffsetCommit 3, those that librdkafka asks for through the proxy.
    """
    answer = exchange.answer or b""
    name = answer[at + 1]
    (error,) = struct.unpack_from(">h", answer, at + 1 + name + 1 + 4)
    return int(error)


def _heartbeat_error(exchange: Exchange) -> int:
    at = _HEADER - (exchange.request.version < _FLEXIBLE_HEARTBEAT) + _THROTTLE
    (error,) = struct.unpack_from(">h", exchange.answer or b"", at)
    return int(error)


def _end(old: WorkerProcess, ending: Ending) -> None:
    if ending == "dies":
        old.kill()
    elif ending == "stands still":
        _signal(old, signal.SIGSTOP)


def _signal(worker: WorkerProcess, number: int) -> None:
    os.kill(worker.process.pid or 0, number)
