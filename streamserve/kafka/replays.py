"""Writing dead letters back to where they came from, exactly once.

A replayed record and the mark that says so are written in **one transaction**, under one transactional id for the app:

1. ``Replayer`` takes the id ``<app>.replay``. That settles what an earlier replay left open and fences one that still
   runs, so that nothing can be added to the marks behind our back.
2. ``marks.read`` reads all marks to the end of their compacted topic ``<app>-replays``, as a ``read_committed`` reader.
3. ``write`` writes records and marks, and commits them together. A replay that began in between has fenced us, and
   nothing of the transaction is ever visible.

So a mark is there if and only if its record is, whoever is killed when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamserve.errors import BrokerUnavailable, OutcomeUnknown, StreamserveError, TransactionAborted
from streamserve.kafka.admin import Admin, TopicSpec, compacted_config
from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients, producer_config
from streamserve.kafka.errors import failure_named, kafka_error, translate, translated
from streamserve.kafka.patience import Patience
from streamserve.kafka.whole import WholeReader
from streamserve.records import Coordinates, Emission
from streamserve.settings import Settings

__all__ = ["Marks", "Replay", "ReplayMark", "Replayer", "in_transactions", "replays_topic"]

_INIT_SECONDS = 30.0
_FLUSH_SECONDS = 15.0
_COMMIT_SECONDS = 30.0
_READ_RECORDS = 10_000
_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})  # noqa: SLF001 - librdkafka's public codes


class ReplayMark(msgspec.Struct, frozen=True):
    """What stands in ``<app>-replays`` for one dead letter: where its record went, when, and how often it was replayed.

    ``at_ms`` is in milliseconds since the epoch (UTC); ``to`` is a topic.
    """

    dead_letter: str
    to: str
    at_ms: int
    times: int = 1
    edited: bool = False


class Replay(NamedTuple):
    """A dead letter, by its place, the record to write for it, and its mark."""

    letter: Coordinates
    record: Emission
    mark: ReplayMark


def replays_topic(app: str) -> str:
    """Return the topic of marks of an app."""
    return f"{app}-replays"


def transactional_id(app: str) -> str:
    """Return the id under which dead letters of an app are replayed: under the prefix that its workers' have."""
    return f"{app}.replay"


class Marks:
    """Which dead letters of an app were replayed.

    Raises (from every method):
        BrokerUnavailable: no broker answers, or a transaction hangs in the topic of marks.
    """

    def __init__(self, app: str, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
        self._app = app
        self._settings = settings
        self._clients = clients
        self._identities = Admin(settings, clients).topic_ids([f"{app}-dead-letters"])

    def key_of(self, letter: Coordinates) -> str:
        """Return the key of a dead letter's mark."""
        return mark_key(self._identities.get(letter.topic, letter.topic), letter)

    def read(self) -> dict[str, ReplayMark]:
        """Return all marks by their keys; none where nothing was ever replayed."""
        topic = replays_topic(self._app)
        partitions = Admin(self._settings, self._clients).partitions().get(topic, 0)
        marks: dict[str, ReplayMark] = {}
        reader, patience = (
            WholeReader(self._app, self._settings, Calls(clients=self._clients)),
            Patience(self._settings),
        )
        try:
            ends = {(topic, number): reader.ends(topic, number) for number in range(partitions)}
            starts = {place: low for place, (low, high) in ends.items() if low < high}
            reader.begin(starts, {place: high for place, (_, high) in ends.items()})
            while reader.unread:
                messages = reader.read(_READ_RECORDS)
                marks |= dict(_mark(message) for message in messages if message.value())
                if messages:
                    patience.renew()
                elif reader.unread:
                    patience.wait_for(f"the end of {topic!r}")
        finally:
            reader.close()
        return marks


def mark_key(identity: str, letter: Coordinates) -> str:
    """Return a mark's key; ``identity`` is the dead-letter topic's own, so that one made anew starts without marks.

    >>> mark_key("4Xk", Coordinates("shop-dead-letters", 0, 17))
    '4Xk[0]@17'
    """
    return f"{identity}[{letter.partition}]@{letter.offset}"


def _mark(message: Message) -> tuple[str, ReplayMark]:
    return (message.key() or b"").decode(), msgspec.json.decode(message.value() or b"", type=ReplayMark)


class Replayer:
    """Replays dead letters of an app; see the module's text for why each of them once.

    Raises:
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses the transactional id, or to create the topic of marks.
    """

    def __init__(self, app: str, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
        self._app = app
        self._settings = settings
        self._clients = clients
        self._brokers = settings.bootstrap_servers
        self.marks = Marks(app, settings, clients)
        """Nobody else can add to them from now on without fencing us."""
        spec = TopicSpec(replays_topic(app), 1, compacted_config(), "which dead letters were replayed")
        Admin(settings, clients).create([spec], partitions=1)
        self._producer = self._start()

    def _start(self) -> Producer:
        name = transactional_id(self._app)
        with translated(f"starting transactional id {name!r}", self._brokers):
            producer = self._clients.producer(producer_config(self._settings, name))
            producer.init_transactions(_INIT_SECONDS)
        return producer

    def write(self, replays: Sequence[Replay]) -> None:
        """Write all of ``replays`` and their marks, or nothing.

        Raises:
            TransactionAborted: nothing was written: a record was refused, or another replay has begun.
            OutcomeUnknown: the commit's answer did not come; asked again, the marks tell.
            BrokerUnavailable: no broker answers; nothing was written.
        """
        refused: list[tuple[Coordinates, KafkaError]] = []
        try:
            self._producer.begin_transaction()
            for replay in replays:
                for message in (replay.record, self._marking(replay)):
                    _produce(self._producer, message, partial(_note, refused, replay.letter))
            left = self._producer.flush(_FLUSH_SECONDS)
        except KafkaException as exception:
            raise self._given_up(kafka_error(exception)) from exception
        except SystemError as error:  # the client lost a fatal error behind delivery reports: see ``producers.py``
            raise self._given_up(kafka_error(failure_named("_FENCED"))) from error
        except KeyboardInterrupt:  # a client that is let go in the midst of a transaction: see ``Transaction.close``
            self._abort()
            raise
        if refused:
            letter, error = refused[0]
            raise self._given_up(error, f"replay {letter}")
        if left:
            self._abort()
            raise BrokerUnavailable(f"replay: {left} messages were not taken by {self._brokers}; nothing was written")
        self._commit()

    def _marking(self, replay: Replay) -> Emission:
        key = self.marks.key_of(replay.letter).encode()
        return Emission(replays_topic(self._app), msgspec.json.encode(replay.mark), key)

    def _commit(self) -> None:
        try:
            self._producer.commit_transaction(_COMMIT_SECONDS)
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.retriable():
                raise OutcomeUnknown(
                    f"commit of the replay: {error.str()} ({error.name()}). Run the same command again: what was"
                    " committed is known then, and not written twice."
                ) from exception
            raise self._given_up(error) from exception

    def _given_up(self, error: KafkaError, doing: str = "replay") -> StreamserveError:
        """Abort, and return what to raise."""
        self._abort()
        if error.code() in _FENCED or error.fatal():
            return TransactionAborted(
                f"{doing}: another replay of app {self._app!r} has begun and fenced this one ({error.name()}). Nothing"
                " of this transaction was written: run it again when the other has ended."
            )
        return translate(error, doing=f"{doing} (nothing of its transaction was written)", brokers=self._brokers)

    def _abort(self) -> None:
        with suppress(KafkaException):  # fenced, or no broker: the next to take the id ends the transaction
            self._producer.abort_transaction(_COMMIT_SECONDS)


def _produce(producer: Producer, message: Emission, delivered: Callable[..., None]) -> None:
    producer.produce(
        message.topic,
        message.value,
        message.key,
        -1 if message.partition is None else message.partition,
        on_delivery=delivered,
        timestamp=message.timestamp_ms,
        headers=list(message.headers),
    )
    producer.poll(0)


def _note(
    refused: list[tuple[Coordinates, KafkaError]], letter: Coordinates, error: KafkaError | None, _: Message
) -> None:
    if error is not None and error.code() != KafkaError._PURGE_QUEUE:  # noqa: SLF001 - librdkafka's public code
        refused.append((letter, error))


def in_transactions(replays: Iterable[Replay], *, records: int = 500, size: int = 16 << 20) -> Iterable[list[Replay]]:
    """Yield ``replays`` in lists that one transaction takes with ease, by number and bytes."""
    taken: list[Replay] = []
    weight = 0
    for replay in replays:
        own = len(replay.record.value or b"") + len(replay.record.key or b"")
        if taken and (len(taken) == records or weight + own > size):
            yield taken
            taken, weight = [], 0
        taken.append(replay)
        weight += own
    if taken:
        yield taken
