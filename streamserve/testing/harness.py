"""Runs an app without a broker: records in, outcomes out, step by step, with a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir
from typing import Any, Literal, Self, TypeAlias, cast
from uuid import uuid4

from typing_extensions import TypeVar

from streamserve.agents import Topic
from streamserve.app import App
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.views import RecordView
from streamserve.dataflow.owning.states import definition_of
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.dataflow.running.worker import Worker
from streamserve.dataflow.runtime import codec_of
from streamserve.dataflow.steps.tables import key_from_bytes
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import EncodeError
from streamserve.kafka.calls import Hook
from streamserve.observer import Observer
from streamserve.records import Coordinates, RawRecord, Record, to_datetime, to_epoch_ms
from streamserve.settings import Settings, load_settings
from streamserve.state.format import PAYLOAD, PROCESSING_TIMER, is_value_key, to_user_key, unpack_stamp
from streamserve.tables import Table
from streamserve.testing.harness_clock import HarnessClock
from streamserve.testing.harness_engine import EngineThread
from streamserve.testing.harness_inbox import Inbox, Sent
from streamserve.testing.harness_stand_ins import FeatureFunction, ModelFunction, function_features, function_models
from streamserve.testing.memory_kafka import Cluster, FaultKind, memory_clients

V = TypeVar("V")
K = TypeVar("K")

Fault: TypeAlias = FaultKind | Literal["late"]
"""What ``Harness.fault`` can bring about."""

START = datetime(2024, 1, 1, tzinfo=UTC)
"""When the harness's clock starts, unless told otherwise."""

_SETTINGS = {
    "bootstrap_servers": "memory:0",
    "instance": "harness",
    "commit_interval": "1h",
    "merge_wait": "0s",
}
"""They win over the app's own and the environment's. No transaction ends for the time that it took, and topics that are
merged wait for what is there, not for what might come."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside: what refused it and why, where it came from, its key and bytes untouched.

    A result of a window that is lost has no record behind it, nor has a table's timer that failed: ``key`` is the
    window's or the table's, ``value`` is ``None``, and ``source`` is an empty topic with partition and offset -1.
    """

    step: str
    reason: str
    error: str
    message: str
    source: Coordinates
    key: bytes | None
    value: bytes | None


class Harness:
    """The real engine on a Kafka in memory.

    ``send`` and ``advance`` return when everything that came of them is committed; ``read`` gives what a
    ``read_committed`` reader would see then. The same calls give the same outcomes every time: nothing depends on the
    machine's time, and the clock stands still but for ``advance``. It starts at ``now`` (default: 2024-01-01, UTC).
    Every topic has ``partitions`` partitions. ``features`` and ``models`` put functions in the place of feature
    services and models, by name; the others are the app's own, from its feature repository and registry. Functions
    must give the same answer to the same row: when one raises, the batch is taken apart to find its event, and that
    becomes a dead letter.

    ``hook`` sees every call of Kafka by its name, on both sides, and may raise what Kafka would: see
    ``streamserve.testing.faults``.

    Tables on disk are kept in a folder of the harness's own, unless the app or ``STREAMSERVE_STATE_DIR`` names one.

    ``after`` goes on with what another harness has left on its Kafka, as a new release of the app would.

    Use it in a ``with`` block; it stops the app at the end. Python's collector of reference cycles is off inside, as
    in a worker. One harness, or worker, runs an app at a time.

    >>> from streamserve import App, Stream
    >>> app = App("squares")
    >>> numbers = app.topic("numbers", int, key=str)
    >>> squares = app.topic("squares", int, key=str)
    >>> @app.agent(numbers, to=squares)
    ... async def square(stream: Stream[int]):
    ...     async for number in stream:
    ...         yield number * number
    >>> with Harness(app) as harness:
    ...     harness.send(numbers, 1, 2, 3)
    ...     harness.fault("crash")
    ...     harness.send(numbers, 4)
    ...     [record.value for record in harness.read(squares)]
    [1, 4, 9, 16]

    Raises (from every method): what ends the app's worker, such as ``ConfigurationError``; ``TimeoutError`` when the
    app does not come to rest within a minute.
    """

    def __init__(
        self,
        app: App,
        *,
        now: datetime | None = None,
        partitions: int = 1,
        features: Mapping[str, FeatureFunction] | None = None,
        models: Mapping[str, ModelFunction] | None = None,
        observer: Observer | None = None,
        hook: Hook | None = None,
        after: Harness | None = None,
    ) -> None:
        self._plan = app.plan()
        self._folder = Path(gettempdir(), f"streamserve-harness-{uuid4().hex}")
        self._clock, self._cluster = _new_kafka(now) if after is None else after.kafka
        for spec in topic_specs(self._plan, {}, partitions=partitions):
            if spec.name in self._cluster.topics:
                continue
            self._cluster.create_topic(spec.name, spec.partitions or partitions, spec.config)
        start_worker = self._worker_maker(
            load_settings({"state_dir": self._folder, **app.settings}, _SETTINGS),
            features or {},
            models or {},
            observer,
            hook,
        )
        self._engine = EngineThread(self._cluster, start_worker)
        self._inbox = Inbox(self._cluster, self._engine.step)
        self._keys = {name: KeyCodec[Any](node.key) for name, node in self._plan.topics.items()}
        self._view = RecordView(self._plan.topics, self._keys)

    @property
    def kafka(self) -> tuple[HarnessClock, Cluster]:
        """Return the clock and the Kafka in memory, for tests that look behind the engine."""
        return self._clock, self._cluster

    def _worker_maker(
        self,
        settings: Settings,
        features: Mapping[str, FeatureFunction],
        models: Mapping[str, ModelFunction],
        observer: Observer | None,
        hook: Hook | None,
    ) -> Callable[[], Worker]:
        """Return what makes a worker of the app on the cluster, as often as its process dies."""
        runners = function_models(self._plan, models)
        readers = function_features(self._plan, features, settings, without=runners)
        clients = memory_clients(self._cluster)
        return lambda: Worker(
            self._plan,
            settings,
            observer=observer,
            readers=readers,
            runners=runners,
            hook=hook,
            clock=self._clock,
            clients=clients,
        )

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._inbox.deliver_late()
        finally:
            self._engine.stop()
            rmtree(self._folder, ignore_errors=True)

    # --- what goes in -------------------------------------------------------------------------------------------

    def send(
        self,
        topic: Topic[V, K],
        *values: V,
        key: K | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write ``values`` to ``topic`` and let the app process them.

        ``key`` is taken from each value unless given, and decides the partition unless that is given. ``timestamp``
        (default: now, on the harness's clock) is the record's, which is its event time where the topic names no field
        for it. With a crash on the way the records are processed once all the same, after the restart.

        Raises:
            EncodeError: a value does not fit the topic.
        """
        codec = self._keys[topic.name]
        keys = codec.encode_keys(values) if key is None else codec.encode_column([cast("Any", key)]) * len(values)
        payloads: list[bytes | None] = []
        for payload in codec_of(topic.node).encode_many(values):
            if isinstance(payload, EncodeError):
                raise payload
            payloads.append(payload)
        self._inbox.send(self._sent(topic.name, keys, payloads, timestamp, partition, headers))

    def send_bytes(
        self,
        topic: Topic[Any, Any],
        *payloads: bytes | None,
        key: bytes | None = None,
        timestamp: datetime | None = None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write records as they are, whatever the topic's type says; ``None`` is a tombstone."""
        keys = [key] * len(payloads)
        self._inbox.send(self._sent(topic.name, keys, payloads, timestamp, partition, headers))

    @contextmanager
    def together(self) -> Generator[None]:
        """Let everything that is sent in the block be there before the app processes any of it.

        So records of topics that are read together come in the order of event time.
        """
        with self._inbox.gathering():
            yield

    def advance(self, by: Duration) -> None:
        """Move the clock on; timers run on the way, each at its time."""
        goal = self._clock.now_ms() + to_milliseconds(by)
        while self._clock.now_ms() < goal:
            now = self._clock.now_ms()
            due = [timer.after(now) for timer in self._plan.timers] + self._key_timers_after(now)
            self._clock.advance((min([goal, *due]) - now) / 1000)
            self._engine.step()
        self._inbox.deliver_late()

    def _key_timers_after(self, now_ms: int) -> list[int]:
        """Return when timers of tables are due by the clock, as their changelogs have them."""
        timed = [name for name, node in self._plan.tables.items() if node.timer("processing") is not None]
        records = [record for name in timed for record in self.changelog(self._plan.changelog_of(name)).items()]
        times = [unpack_stamp(value) for key, value in records if key.startswith(PROCESSING_TIMER)]
        return [at_ms for at_ms in times if at_ms > now_ms]

    @property
    def now(self) -> datetime:
        """Return the time on the harness's clock, UTC."""
        return to_datetime(self._clock.now_ms())

    def fault(self, kind: Fault) -> None:
        """Let the next step suffer a fault, once; several strike one after the other.

        ``"crash"``: the process dies after producing, before the commit, and another starts (lifespans end all the
        same, so that nothing of theirs is left behind). ``"abort"``: the broker refuses the commit. ``"fence"``:
        another producer takes the worker's transactional id. ``"rebalance"``: the partitions are taken away and given
        back. These strike at the next transaction. ``"late"``: what is sent next is delivered only after what is sent
        after it, or after the next ``advance``.
        """
        if kind == "late":
            self._inbox.delay_next()
        else:
            self._cluster.suffer(kind)

    # --- what comes out -----------------------------------------------------------------------------------------

    def read(self, topic: Topic[V, K]) -> list[Record[V, K]]:
        """Return all records of ``topic`` so far, committed ones only, in the order in which they were written.

        Raises:
            DecodeError: a record is not what the topic's type says.
        """
        messages = self.read_bytes(topic.name)
        values = codec_of(topic.node).decode_many([message.value() for message in messages])
        for value in values:
            if isinstance(value, Exception):
                raise value
        batch = RecordBatch("harness", topic.name, messages, values, [message.partition() or 0 for message in messages])
        return [self._view(batch, row) for row in range(len(messages))]

    def read_bytes(self, topic: str) -> list[RawRecord]:
        """Return the records of a topic by name, the engine's own included, as a client would get them."""
        return cast("list[RawRecord]", self._cluster.committed(topic))

    def dead_letters(self) -> list[DeadLetter]:
        """Return the records that were set aside so far."""
        return [_dead_letter(message) for message in self.read_bytes(self._plan.dead_letter_topic)]

    def table(self, table: Table[K, V]) -> dict[K, V]:
        """Return what ``table`` holds, over all partitions, as its changelog has it by now.

        A value whose time to live is over is there until it is deleted.
        """
        node, records = table.node, self.changelog(self._plan.changelog_of(table.name))
        definition = definition_of(node)
        return {
            key_from_bytes(node.key_type, to_user_key(key)): definition.to_value(value[PAYLOAD:])
            for key, value in records.items()
            if is_value_key(key)
        }

    def changelog(self, topic: str) -> dict[bytes, bytes]:
        """Return a compacted topic as a reader would fold it: the last value of each key that is not deleted."""
        last = {message.key(): message.value() for message in self.read_bytes(topic)}
        return {key: value for key, value in last.items() if key is not None and value is not None}

    def _sent(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamp: datetime | None,
        partition: int | None,
        headers: Mapping[str, bytes] | None,
    ) -> list[Sent]:
        time_ms = self._clock.now_ms() if timestamp is None else to_epoch_ms(timestamp)
        pairs = tuple((headers or {}).items())
        return [Sent(topic, key, value, time_ms, partition, pairs) for key, value in zip(keys, values, strict=True)]


def _dead_letter(message: RawRecord) -> DeadLetter:
    texts: dict[str, str] = {}
    for name, content in message.headers() or ():
        texts.setdefault(name, (content or b"").decode(errors="replace"))
    source = Coordinates(
        texts.get("source-topic", ""), int(texts.get("source-partition", -1)), int(texts.get("source-offset", -1))
    )
    return DeadLetter(
        texts["step"],
        texts["reason"],
        texts["error"],
        texts["message"],
        source,
        message.key(),
        message.value(),
    )


def _new_kafka(now: datetime | None) -> tuple[HarnessClock, Cluster]:
    clock = HarnessClock(to_epoch_ms(now or START))
    return clock, Cluster(clock)
