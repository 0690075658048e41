"""What the broker refuses for good stops the worker, with an error that says what to mend."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from streamserve import App, Stream
from streamserve.errors import ConfigurationError, TopicError
from tests.integration.conftest import Drive, MakeTopics
from tests.integration.driving import events
from tests.integration.running import Running, copying, create_topics, process, send
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

NOISE = random.Random(0).randbytes(4_000).hex()  # noqa: S311 - no secret, but no compression makes it small
SMALL = {"max.message.bytes": "2000"}


class Tick(msgspec.Struct, frozen=True):
    n: int
    text: str


def delete(admin: AdminClient, topic: str) -> None:
    client: Any = admin  # its futures are untyped
    client.delete_topics([topic])[topic].result(60)


def test_an_output_topic_that_is_deleted_while_the_app_runs_is_named(
    brokers: str, topic_name: str, admin: AdminClient
) -> None:
    app = copying(topic_name)
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [{"n": 1}])

    def run() -> None:
        with Running(app, brokers, transaction_timeout="10s") as running:
            running.until_committed(1)
            delete(admin, f"{topic_name}.out")
            send(brokers, f"{topic_name}.in", [{"n": 2}])
            running.until_committed(2)

    with pytest.raises(TopicError, match=rf"topic '{topic_name}\.out' \(written by the app\) does not exist"):
        run()


def test_a_transaction_timeout_that_the_broker_does_not_take_is_named(brokers: str, topic_name: str) -> None:
    app = copying(topic_name)
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [{"n": 1}])
    with pytest.raises(ConfigurationError, match=r"INVALID_TRANSACTION_TIMEOUT.*lower STREAMSERVE_TRANSACTION_TIMEOUT"):
        process(app, brokers, 1, transaction_timeout="2h")


def test_messages_without_keys_for_a_compacted_topic_are_named(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app = App(topic_name)
    out = app.topic(f"{topic_name}.out")

    @app.agent(app.topic(f"{topic_name}.in"), to=out)
    async def copy(stream: Stream[bytes]) -> AsyncIterator[bytes]:  # pyright: ignore[reportUnusedFunction]
        async for value in stream:
            yield value

    make_topics(out.name, config={"cleanup.policy": "compact"})
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [{"n": 1}])
    with pytest.raises(ConfigurationError, match=r"INVALID_RECORD.*a compacted topic takes no message without a key"):
        process(app, brokers, 1)


def test_an_oversize_message_of_a_timer_is_named(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    app = copying(topic_name)
    ticks = app.topic(f"{topic_name}.ticks", Tick, key=lambda result: str(result.n))

    @app.timer("300ms", to=ticks)
    async def tick() -> AsyncIterator[Tick]:  # pyright: ignore[reportUnusedFunction]
        yield Tick(7, NOISE)

    make_topics(ticks.name, config=SMALL)
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [{"n": n} for n in range(10)])
    pattern = rf"'{topic_name}\.ticks' refuses the \d+ bytes made by step 'tick'.*raise max\.message\.bytes"
    with pytest.raises(ConfigurationError, match=pattern):
        process(app, brokers, 1_000)


def test_an_oversize_state_record_is_named(drive: Drive, admin: AdminClient, make_topics: MakeTopics) -> None:
    driver = drive("monitored", partitions=1)
    changelog = f"{driver.app}-state-changelog"
    delete(admin, changelog)
    wait_until(lambda: changelog not in admin.list_topics(timeout=60).topics, "the changelog's end")
    make_topics(changelog, config={"cleanup.policy": "compact", "max.message.bytes": "200"})
    driver.produce(events(300))
    worker = driver.start()
    assert worker.wait() == 1, driver.logs()
    assert worker.said(f"ConfigurationError: '{changelog}' refuses the "), driver.logs()
    assert worker.said("made by the state of "), driver.logs()
    assert driver.committed() == 0
