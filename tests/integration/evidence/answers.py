"""Answers of Kafka that come late, or never: what the worker does then, and what its readers see of it: nothing.

``python -m tests.integration.evidence.answers --tries 50`` makes 50 tries with each kind of answer. One is held back,
for up to eight seconds (longer than the engine calls slow), lost with its connection, or swallowed, which the client
finds out by a time-out; requests wait for a few seconds at most here.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass

from streamserve.testing.proxy import Action, Api, KafkaProxy
from tests.integration.driving import Driver, events
from tests.integration.evidence.owners import verdict
from tests.integration.evidence.trials import SMALL, Evidence, broker_of, chance_of, options, plain_driver
from tests.integration.evidence.workers import reaction
from tests.integration.waiting import wait_until

APIS = (Api.END_TXN, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.FETCH, Api.HEARTBEAT)
ACTIONS: tuple[Action, ...] = ("delay", "cut", "drop")
LATE_S = (0.2, 8.0)
EVENTS = 400
IMPATIENT = {"kafka": '{"socket.timeout.ms": "5000"}'}
"""A swallowed answer is missed after this time; a minute would be usual."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens to one answer: to the ``ordinal``-th of its kind from now on."""

    action: Action
    ordinal: int
    seconds: float

    @classmethod
    def chosen(cls, api: Api, chance: random.Random) -> Strike:
        """Return one by chance; heartbeats come once in a while only."""
        ordinal = 1 if api == Api.HEARTBEAT else chance.randrange(1, 5)
        return cls(chance.choice(ACTIONS), ordinal, chance.uniform(*LATE_S) if chance.random() < 0.5 else LATE_S[0])


def run_answers(driver: Driver, api: Api, evidence: Evidence, tries: int) -> None:
    """Make tries with answers to ``api``, one after the other for one worker; judge the outputs at the end."""
    chance = chance_of(evidence.seed + api)
    with KafkaProxy(driver.brokers) as proxy:
        worker = driver.start("w0", bootstrap_servers=proxy.address, **SMALL, **IMPATIENT)
        wait_until(lambda: worker.said("ready"), "a worker")
        for number in range(tries):
            strike = Strike.chosen(api, chance)
            noted, began = len(worker.lines), time.monotonic()
            rule = proxy.on(api, strike.action, side="answer", first=strike.ordinal, count=1, seconds=strike.seconds)
            driver.produce(events(EVENTS, first=number * EVENTS))
            rule.wait()
            driver.wait_for_inputs()
            evidence.did[f"{api.name} {strike.action}: {reaction(worker, noted)}"] += 1
            evidence.took(api.name, time.monotonic() - began)
            evidence.tries += 1
        worker.stop()
    evidence.wrong(verdict(driver))


def main() -> int:
    """Make the tries; return the exit code."""
    parser = options(__doc__, tries=50, takes_broker=True)
    parser.add_argument("--apis", nargs="*", default=[api.name for api in APIS], choices=[api.name for api in APIS])
    given = parser.parse_args()
    evidence = Evidence("answers late or lost", given.seed)
    with broker_of(given) as brokers:
        for name in given.apis:
            with plain_driver("claimed", brokers) as driver:
                try:
                    run_answers(driver, Api[name], evidence, given.tries)
                except (AssertionError, TimeoutError) as error:
                    evidence.wrong([f"{name}: {error}\n{driver.logs()}"])
            evidence.say(f"{name}: {evidence.tries} tries in all, {len(evidence.anomalies)} anomalies")
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
