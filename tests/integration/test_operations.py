"""Dead letters, offsets and transactions on a real broker, by the command line and beside workers."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from streamserve import App, Reject, Stream
from streamserve.broker.server import LocalBroker
from streamserve.cli import main
from streamserve.errors import ConfigurationError, TransactionAborted
from streamserve.kafka.admin import Admin
from streamserve.kafka.clients import transactional_ids
from streamserve.kafka.fencing import end_transaction
from streamserve.kafka.replays import Marks, Replay, Replayer, ReplayMark
from streamserve.ops.dead_letters import Outcome, Wanted, dead_letters, replay, setting
from streamserve.ops.offsets import look, plan_reset, reset
from streamserve.ops.transactions import Transactions
from streamserve.records import Coordinates, Emission
from streamserve.settings import Settings
from streamserve.testing.checks import read_topic
from tests.integration.conftest import topic_maker
from tests.integration.driving import FORKS, MakeTopics
from tests.integration.running import Input, Running, create_topics, process, send, settings_of, values
from tests.integration.waiting import wait_until
from tests.unit.cli.apps import module

pytestmark = pytest.mark.broker

LETTERS = 2000
"""How many dead letters are replayed while it is killed."""


class Order(msgspec.Struct, frozen=True):
    user: str
    amount: int


class Sum(msgspec.Struct, frozen=True):
    user: str
    total: int


def shop(name: str) -> App:
    """An app that sums amounts by user, and refuses those below zero."""
    app = App(name)
    orders = app.topic(f"{name}.orders", Order, key="user")
    sums = app.table("sums", int, default=int)

    @app.agent(orders, to=app.topic(f"{name}.sums", Sum, key="user"))
    async def add(stream: Stream[Order]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for order in stream:
            if order.amount < 0:
                raise Reject("the amount is negative")
            sums[order.user] += order.amount
            yield Sum(order.user, sums[order.user])

    return app


def order(amount: object, *, user: str = "ann") -> Input:
    return Input({"user": user, "amount": amount}, user.encode(), 1_700_000_000_000, headers=(("trace", b"\xff"),))


def totals(brokers: str, app: App) -> list[int]:
    return [value["total"] for value in values(brokers, f"{app.name}.sums")]


def letters_replayed(app: App, settings: Settings, wanted: Wanted | None = None, **options: Any) -> Outcome:
    plan = app.plan()
    return replay(plan, settings, dead_letters(plan, settings, wanted or Wanted()), **options)


def started(app: App, brokers: str, *inputs: Input) -> Settings:
    """Create the topics, send ``inputs``, and process all of them."""
    create_topics(app, brokers)
    send(brokers, f"{app.name}.orders", inputs)
    process(app, brokers, len(inputs), session_timeout="1s")
    return settings_of(app, brokers)


def test_dead_letters_are_mended_replayed_once_and_processed(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    settings = started(app, brokers, order(1), order("two"), order(-3), order(4))
    assert letters_replayed(app, settings, Wanted(reason="decode")).replays == []  # it would be refused again
    mended = letters_replayed(app, settings, Wanted(reason="decode"), edit=setting(["amount=2"]))
    assert [one.mark.edited for one in mended.replays] == [True]
    again = letters_replayed(app, settings, edit=setting(["amount=3"]))
    assert [left.was_replayed for left in again.left_out] == [True]
    assert [one.record.topic for one in again.replays] == [f"{app.name}.orders"]
    process(app, brokers, 2, session_timeout="1s")
    assert totals(brokers, app) == [1, 5, 7, 10]
    sent = read_topic(brokers, f"{app.name}.orders")[-1]
    assert (sent.key, sent.timestamp_ms) == (b"ann", 1_700_000_000_000)
    assert [name for name, _ in sent.headers] == ["trace", "streamserve-replayed-from", "streamserve-replays"]
    assert letters_replayed(app, settings, again=False).replays == []


def test_a_replay_that_fails_again_is_a_dead_letter_that_counts(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    settings = started(app, brokers, order(-1))
    for count in (1, 2):
        assert len(letters_replayed(app, settings).replays) == 1
        process(app, brokers, 1, session_timeout="1s")
        newest = list(dead_letters(app.plan(), settings, Wanted()))[-1]
        assert (newest.at.offset > 0, newest.replays) == (True, count)


def test_of_two_replays_at_once_the_earlier_is_fenced_and_writes_nothing(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(f"{topic_name}-dead-letters", f"{topic_name}.in")
    settings = settings_of(App(topic_name), brokers)
    letter = Coordinates(f"{topic_name}-dead-letters", 0, 0)
    told = Replay(letter, Emission(f"{topic_name}.in", b"{}", b"k"), ReplayMark(str(letter), f"{topic_name}.in", 1))
    earlier = Replayer(topic_name, settings)
    later = Replayer(topic_name, settings)
    with pytest.raises(TransactionAborted, match="another replay"):
        earlier.write([told])
    later.write([told])
    assert len(read_topic(brokers, f"{topic_name}.in")) == 1
    assert list(Marks(topic_name, settings).read().values()) == [told.mark]


def test_replays_that_are_killed_and_begun_again_write_each_record_once(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    """Each run is killed a little later after its beginning than the one before, until one comes to its end."""
    make_topics(f"{topic_name}-dead-letters", f"{topic_name}.in")
    send(brokers, f"{topic_name}-dead-letters", [_set_aside(topic_name, number) for number in range(LETTERS)])
    milliseconds, kills = 0.0, 0
    while True:
        begun = FORKS.Event()
        run = FORKS.Process(target=replay_everything, args=(brokers, topic_name, begun))
        run.start()
        assert begun.wait(60)
        run.join(milliseconds / 1000)
        if run.exitcode is not None:
            break
        run.kill()
        run.join()
        milliseconds, kills = milliseconds * 1.3 + 25, kills + 1
    assert run.exitcode == 0
    assert kills > 5
    records = read_topic(brokers, f"{topic_name}.in")
    assert [int(record.value or b"") for record in records] == list(range(LETTERS))


def _set_aside(name: str, number: int) -> Input:
    facts = {
        "step": "s",
        "reason": "agent",
        "source-topic": f"{name}.in",
        "source-partition": 0,
        "source-offset": number,
    }
    return Input(b"%d" % number, headers=tuple((key, str(fact).encode()) for key, fact in facts.items()))


def replay_everything(brokers: str, name: str, begun: Event) -> None:
    """Replay in many small transactions; runs in a process of its own."""
    begun.set()
    app = App(name)
    letters_replayed(app, settings_of(app, brokers), per_transaction=20)


def test_what_a_dead_replay_left_open_is_settled_by_the_next(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(f"{topic_name}-dead-letters", f"{topic_name}.in")
    settings = settings_of(App(topic_name), brokers)
    dropped(brokers, f"{topic_name}.replay", f"{topic_name}.in")
    replayer = Replayer(topic_name, settings)
    assert replayer.marks.read() == {}
    assert read_topic(brokers, f"{topic_name}.in") == []


def test_offsets_go_back_with_state_kept_and_then_with_state_emptied(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    settings = started(app, brokers, order(1), order(2))
    plan = app.plan()
    assert Admin(settings).lag(app.name, [f"{app.name}.orders"])[0].lag == 0

    wait_until(lambda: _reset(app, settings), "a group without members")
    process(app, brokers, 2, session_timeout="1s")
    assert totals(brokers, app) == [1, 3, 4, 6]

    wait_until(lambda: _reset(app, settings, empty=True), "a group without members")
    [stands] = look(plan, settings)
    assert (stands.committed, stands.mark, stands.waiting) == (0, None, 2)
    process(app, brokers, 2, session_timeout="1s")
    assert totals(brokers, app) == [1, 3, 4, 6, 1, 3]


def _reset(app: App, settings: Settings, *, empty: bool = False) -> bool:
    """Set the offsets back; return whether it was done."""
    moves = plan_reset(app.plan(), settings, "earliest", empty=empty)
    try:
        reset(app.plan(), settings, moves, empty=empty)
    except ConfigurationError:  # a worker that was stopped is a member for another second
        return False
    return True


def test_offsets_are_not_set_under_a_running_worker(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    create_topics(app, brokers)
    settings = settings_of(app, brokers)
    send(brokers, f"{app.name}.orders", [order(1)])
    with Running(app, brokers) as running:
        running.until_committed(1)
        moves = plan_reset(app.plan(), settings, "earliest")
        with pytest.raises(ConfigurationError, match=rf"has members \({app.name}-0\).*stop all workers"):
            reset(app.plan(), settings, moves)
    assert look(app.plan(), settings)[0].committed == 1


def test_an_input_that_ends_in_markers_leaves_no_lag(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    create_topics(app, brokers)
    for amount in (1, 2):
        producer = transactional(brokers, f"{topic_name}.feed.{amount}")
        producer.begin_transaction()
        producer.produce(f"{app.name}.orders", json.dumps({"user": "ann", "amount": amount}).encode(), b"ann")
        producer.commit_transaction()
    settings = settings_of(app, brokers)
    assert Admin(settings).lag(app.name, [f"{app.name}.orders"])[0].lag == 4
    process(app, brokers, 2, session_timeout="1s")
    [behind] = Admin(settings).lag(app.name, [f"{app.name}.orders"])
    assert (behind.end, behind.lag) == (4, 0)


def transactional(brokers: str, transactional_id: str) -> Producer:
    config: dict[str, Any] = {"bootstrap.servers": brokers, "transactional.id": transactional_id}
    producer = Producer({**config, "transaction.timeout.ms": 600_000})
    producer.init_transactions(30)
    return producer


def dropped(brokers: str, transactional_id: str, topic: str) -> None:
    """Write in a transaction whose producer then goes, without a word and for ten minutes."""
    producer = transactional(brokers, transactional_id)
    producer.begin_transaction()
    producer.produce(topic, b"never", b"k")
    assert producer.flush(30) == 0


def held_back(brokers: str, topic: str) -> bool:
    """Return whether a committed record behind whatever is open is out of a reader's sight."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "none", "isolation.level": "read_committed"})
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 60)
    consumer.close()
    return high == low


def test_the_transaction_of_a_dropped_producer_is_ended_by_its_id(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(f"{topic_name}.in")
    transactional_id = f"{topic_name}.gone-0.0"
    dropped(brokers, transactional_id, f"{topic_name}.in")
    send(brokers, f"{topic_name}.in", [b"behind"])
    assert held_back(brokers, f"{topic_name}.in")
    transactions = Transactions(settings_of(App(topic_name), brokers))
    assert transactional_id in {one.transactional_id for one in transactions.listed() if one.is_open}
    assert transactions.describe(transactional_id).partitions == [f"{topic_name}.in-0"]
    assert transactions.hanging_in(f"{topic_name}.in", 0, minutes=0) == []  # its coordinator knows of it
    transactions.end(transactional_id)
    wait_until(lambda: not held_back(brokers, f"{topic_name}.in"), "readers that go on")
    assert [record.value for record in read_topic(brokers, f"{topic_name}.in")] == [b"behind"]
    with pytest.raises(ConfigurationError, match="Kafka's tool says"):
        transactions.describe("nobody")


def test_a_worker_whose_transactions_are_ended_begins_anew_by_itself(brokers: str, topic_name: str) -> None:
    app = shop(topic_name)
    create_topics(app, brokers)
    send(brokers, f"{app.name}.orders", [order(1)])
    with Running(app, brokers, session_timeout="1s") as running:
        running.until_committed(1)
        for transactional_id in transactional_ids(app.name, f"{app.name}-0"):
            end_transaction(transactional_id, settings_of(app, brokers))
        send(brokers, f"{app.name}.orders", [order(2), order(3)])
        running.until_committed(3)
    assert running.recorder.restarts
    assert totals(brokers, app) == [1, 3, 6]


def test_a_transaction_that_its_coordinator_has_forgotten_is_aborted_in_its_partition(tmp_path: Path) -> None:
    """The transaction log is deleted beneath a stopped broker: what was open then is open for ever."""
    with LocalBroker(tmp_path) as broker:
        topic_maker(broker.address)("in")
        dropped(broker.address, "shop.gone-0.0", "in")
        broker.stop()
        for log in (tmp_path / "topics").glob("__transaction_state-*"):
            shutil.rmtree(log)
        broker.start()
        send(broker.address, "in", [b"behind"])
        transactions = Transactions(Settings(bootstrap_servers=broker.address))
        assert transactions.listed() == []
        [hanging] = transactions.hanging(minutes=0, topics={"in"})
        assert (hanging.topic, hanging.partition, hanging.start_offset) == ("in", 0, 0)
        assert held_back(broker.address, "in")
        transactions.abort(hanging)
        wait_until(lambda: not held_back(broker.address, "in"), "readers that go on")
        assert [record.value for record in read_topic(broker.address, "in")] == [b"behind"]


def test_the_commands_do_it_too(brokers: str, topic_name: str, tmp_path: Path) -> None:
    app = shop(topic_name)
    started(app, brokers, order(1), order(-2))
    text = f"from tests.integration.test_operations import shop\n\napp = shop({topic_name!r})\n"
    with module(tmp_path, "operated_of_tests", text) as name:
        call = Commands(name, brokers)
        [letter] = call("dead-letters list")["shown"]
        assert (letter["reason"], letter["source"]["offset"]) == ("rejected", 1)
        place = f"{letter['partition']}@{letter['offset']}"
        assert call("dead-letters show", place)["headers"] == ["trace"]
        assert call("dead-letters show", place, "--payload")["value"]["amount"] == -2
        assert call("dead-letters replay", place)["written"] is False
        assert len(call("dead-letters replay", place, "--yes")["replayed"]) == 1
        refused = call("dead-letters replay", "--all", "--yes", code=1)
        assert [left["was_replayed"] for left in refused["left_out"]] == [True]
        [stands] = call("offsets show")
        assert (stands["committed"], stands["waiting"], stands["instance"]) == (2, 2, f"{topic_name}-0")
        assert [one["again"] for one in call("offsets reset", "--to", "earliest")["partitions"]] == [2]
        wait_until(lambda: call.run("offsets reset", "--to", "latest", "--yes").exit_code == 0, "no members")
        assert call("lag")["lag"] == 0


@dataclass(frozen=True, slots=True)
class Commands:
    """The command line for one app on one broker."""

    app: str
    brokers: str

    def run(self, command: str, *options: str) -> Any:
        """Return how ``command`` ended."""
        return CliRunner().invoke(
            main, [*command.split(), f"{self.app}:app", *options, "--brokers", self.brokers, "--json"]
        )

    def __call__(self, command: str, *options: str, code: int = 0) -> Any:
        """Return what ``command`` prints."""
        result = self.run(command, *options)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)
