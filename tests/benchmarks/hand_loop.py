"""The yardstick: the same job as a bare loop for this one workload, with nothing that an engine needs.

It consumes, decodes, looks features up in a matrix, scores, feeds ADWIN, encodes, produces, and commits a transaction
every 100 ms with two producers in turn; where latency is measured, as soon as nothing more has arrived. It has no error
handling, restore or rebalancing, and Python's garbage collector is off.
"""

from __future__ import annotations

import gc
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from tests.benchmarks.meter import Measurement, Meter
from tests.benchmarks.serving import announce, when_input_ends
from tests.benchmarks.workload import FEATURES, MODEL, MODELS, VERSION, Scored, Transaction, feature_matrix

_BATCH = 2048
_COMMIT_S = 0.1
_WAIT_S = 0.05


def run(brokers: str, source: str, target: str, goal: int) -> Measurement:
    """Score ``goal`` records of ``source`` into ``target``."""
    loop = _Loop(brokers, source, target)
    meter = Meter(goal)
    while not meter.reached:
        meter.committed(loop.commit(loop.batches_of_an_interval()))
    loop.close()
    return meter.result()


def serve(brokers: str, source: str, target: str, *, quick: bool = True, monitored: bool = True) -> None:
    """Score until standard input ends; say ``ready`` when records are taken.

    It commits whenever nothing waits, or every 100 ms where it is not to be ``quick``; ADWIN is fed if ``monitored``.
    """
    loop = _Loop(brokers, source, target, monitored=monitored)
    ended = threading.Event()
    when_input_ends(ended.set)
    announce()
    while not ended.is_set():
        if first := loop.arrived(_WAIT_S):
            loop.commit(loop.batches_until_idle(first) if quick else loop.batches_of_an_interval(first))
    loop.close()


class _Loop:
    """Reads, scores and commits; without Python's garbage collector from its start."""

    def __init__(self, brokers: str, source: str, target: str, *, monitored: bool = True) -> None:
        self._source, self._target = source, target
        self._consumer = _consumer(brokers, source)
        self._early = _awaited(self._consumer)
        self._producers = cycle([_producer(brokers) for _ in range(2)])
        self._job = _Job(monitored=monitored)
        self.close = self._consumer.close
        gc.collect()
        gc.freeze()
        gc.disable()

    def commit(self, batches: Iterable[list[Message]]) -> int:
        """Score ``batches`` in one transaction; return the number of records."""
        producer = next(self._producers)
        producer.begin_transaction()
        produce = producer.produce
        positions: dict[int, int] = {}
        records = 0
        for messages in batches:
            for message, value in zip(messages, self._job.outputs(messages), strict=True):
                produce(self._target, value, message.key())
            positions |= _next_offsets(messages)
            records += len(messages)
        offsets = [TopicPartition(self._source, partition, position) for partition, position in positions.items()]
        producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata())
        producer.commit_transaction()
        return records

    def batches_of_an_interval(self, first: Sequence[Message] = ()) -> Iterator[list[Message]]:
        """Yield ``first`` and what arrives within 100 ms, and one batch at least."""
        began = time.perf_counter()
        first, self._early = [*self._early, *first], []
        records = len(first)
        if first:
            yield first
        while not records or time.perf_counter() - began < _COMMIT_S:
            messages = self._consumer.consume(_BATCH, 0.5)
            records += len(messages)
            yield messages

    def batches_until_idle(self, first: list[Message]) -> Iterator[list[Message]]:
        """Yield ``first`` and what has arrived since, for 100 ms at most."""
        began = time.perf_counter()
        messages = first
        while messages:
            yield messages
            messages = self.arrived(0) if time.perf_counter() - began < _COMMIT_S else []

    def arrived(self, wait_s: float) -> list[Message]:
        """Return what is there; where nothing is, what comes first within ``wait_s`` seconds."""
        messages, self._early = [*self._early, *self._consumer.consume(_BATCH, 0)], []
        if messages or not wait_s:
            return messages
        first = self._consumer.poll(wait_s)
        return [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]


class _Job:
    """From messages to encoded predictions."""

    def __init__(self, *, monitored: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        onnx = (MODELS / MODEL / VERSION / "model.onnx").read_bytes()
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._features = feature_matrix()
        self._update = _adwin() if monitored else None
        self._decode = msgspec.json.Decoder(Transaction).decode
        self._encode = msgspec.json.Encoder().encode

    def outputs(self, messages: list[Message]) -> list[bytes]:
        """Return the value to produce for each message."""
        if not messages:
            return []
        decode, encode, update = self._decode, self._encode, self._update
        events = [decode(message.value() or b"") for message in messages]
        scores = self._scores(events)
        if update is not None:
            for score in scores:
                update(score)
        return [
            encode(Scored(event.id, event.user, score, score > 0.5, VERSION))
            for event, score in zip(events, scores, strict=True)
        ]

    def _scores(self, events: list[Transaction]) -> list[float]:
        rows = np.empty((len(events), 2 + len(FEATURES)), np.float32)
        rows[:, 0] = [event.amount for event in events]
        rows[:, 1] = [event.ts for event in events]
        rows[:, 2:] = self._features[[event.user for event in events]]
        return self._session.run(None, {"X": rows})[1][:, 1].tolist()


def _adwin() -> Any:
    from river import drift

    return drift.ADWIN().update


def _next_offsets(messages: Iterable[Message]) -> dict[int, int]:
    last: Any = {message.partition(): message.offset() for message in messages}
    return {partition: offset + 1 for partition, offset in last.items()}


def _consumer(brokers: str, source: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"hand-loop-{uuid.uuid4().hex[:8]}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "queued.min.messages": 50_000,
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.subscribe([source])
    return consumer


def _awaited(consumer: Consumer) -> list[Message]:
    """Wait for partitions; return what came with them, as may the first record."""
    early: list[Message] = []
    while not consumer.assignment():
        message = consumer.poll(0.2)
        if message is not None:
            early.append(message)
    return early


def _producer(brokers: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "transactional.id": f"hand-loop-{uuid.uuid4().hex[:8]}",
            "linger.ms": 5,
            "compression.type": "lz4",
            "batch.size": 1 << 18,
            "queue.buffering.max.messages": 1_000_000,
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 50,
        }
    )
    producer.init_transactions()
    return producer
