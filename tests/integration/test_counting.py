"""Outcomes count once: when they are committed, and not when the transaction that produced them was aborted."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest

from streamserve import App, Reject, Stream
from streamserve.dataflow.running.worker import Worker
from streamserve.observer import Observer, Observers
from streamserve.testing.faults import FaultSwitch, parse_faults
from tests.integration.running import Running, create_topics, dead_letters, send, settings_of, values

pytestmark = pytest.mark.broker

RECORDS = 200


class Number(msgspec.Struct, frozen=True):
    n: int


class Counts(Observer):
    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.processed_records = 0

    def processed(self, step: str, records: int, seconds: float) -> None:
        del step, seconds
        self.processed_records += records

    def emitted(self, topic: str, records: int) -> None:
        self.seen[topic] += records

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self.seen[f"{step}: {reason}"] += records


def test_what_an_aborted_transaction_produced_is_counted_once(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    numbers = app.topic(f"{topic_name}.in", Number, key="n")
    out = app.topic(f"{topic_name}.out", Number, key="n")

    @app.agent(numbers, to=out)
    async def odd(stream: Stream[Number]) -> AsyncIterator[Number]:
        async for number in stream:
            if number.n % 2 == 0:
                raise Reject("even")
            yield number

    create_topics(app, brokers)
    send(brokers, numbers.name, [{"n": n} for n in range(RECORDS)])
    counts, switch = Counts(), FaultSwitch(parse_faults("producer.commit_transaction:before:1:raise"))
    running = Running(app, brokers)
    running.worker = Worker(
        app.plan(), settings_of(app, brokers), observer=Observers([running.recorder, counts]), hook=switch
    )
    with running:
        running.until_committed(RECORDS)
    assert len(switch.struck) == len(running.recorder.restarts) == 1
    assert counts.processed_records > RECORDS
    letters = f"{app.name}-dead-letters"
    assert counts.seen == {out.name: RECORDS // 2, letters: RECORDS // 2, "odd: rejected": RECORDS // 2}
    assert len(values(brokers, out.name)) == len(dead_letters(brokers, app)) == RECORDS // 2
