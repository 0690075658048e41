"""The events, features and model that every measured program works on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

MODELS = Path(__file__).with_name("models")
"""The registry with the model, as ``tests.benchmarks.training`` wrote it."""
MODEL = "fraud"
VERSION = "1"
USERS = 10_000
FEATURES = tuple(f"f{number}" for number in range(6))
SERVICE = "users"
"""The feature service: ``FEATURES`` by ``user``."""
PARTITIONS = 2


class Transaction(msgspec.Struct, gc=False):
    """An event: 126 bytes of JSON on average."""

    id: int
    user: int
    amount: float
    merchant: str
    ts: int
    country: str
    channel: str
    device: str


class Scored(msgspec.Struct, gc=False):
    """What comes out for it."""

    id: int
    user: int
    probability: float
    label: bool
    version: str


def event(number: int) -> bytes:
    """Return event ``number`` as JSON; its user is ``number % USERS``.

    >>> event(3)[:52]
    b'{"id":3,"user":3,"amount":0.39,"merchant":"m3","ts":'
    """
    return msgspec.json.encode(
        Transaction(
            id=number,
            user=number % USERS,
            amount=round(number * 0.13 % 977, 2),
            merchant=f"m{number % 500}",
            ts=1_700_000_000_000 + number,
            country="GB",
            channel="web",
            device="abcdef0123456789"[: number % 16 + 1],
        )
    )


@cache
def feature_matrix() -> NDArray[np.float32]:
    """Return the features, of shape (users, features): the same in every process."""
    return np.random.default_rng(1).random((USERS, len(FEATURES)), np.float32)


def load(brokers: str, topic: str, count: int) -> None:
    """Write ``count`` events, keyed by user and alike for each, and wait until the broker has them all."""
    values = [event(number) for number in range(USERS)]
    _produce(brokers, topic, ((values[number % USERS], number) for number in range(count)))


def load_numbered(brokers: str, topic: str, numbers: range) -> None:
    """Write the events of these numbers, keyed by user, and wait until the broker has them all."""
    _produce(brokers, topic, ((event(number), number) for number in numbers))


def _produce(brokers: str, topic: str, values: Iterable[tuple[bytes, int]]) -> None:
    """Write each value under the user of its number."""
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "linger.ms": 5,
            "batch.size": 1 << 18,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
            "enable.idempotence": True,
            "log_level": 3,  # a broker that has just started may keep it waiting
        }
    )
    keys = [b"%d" % user for user in range(USERS)]
    for value, number in values:
        producer.produce(topic, value, keys[number % USERS])
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()
