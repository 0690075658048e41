"""Every Kafka client: how it is made, and its configuration, in which what the user sets reaches all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from streamserve.durations import to_milliseconds
from streamserve.kafka.client_log import CLIENT_LOG
from streamserve.settings import Settings

MAX_MESSAGE_BYTES = 12 * 1024 * 1024
"""What our producers hand to a broker at most: dead letters carry what other topics refuse."""
_HEARTBEAT_MS = 3_000
"""Kafka's own default."""

_IDS = 3
"""At some hundred transactions a second 9 of 1,261 met the markers of their id's last with two ids (17 of 141 on a busy
machine), for which librdkafka waits 1 to 20 ms; with three none of 1,820 did (4 of 177)."""

_SOCKET_TIMEOUT_MS = 60_000
"""librdkafka's own default, where nothing is transactional."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Makes the clients from their librdkafka configuration: the one place where they come from.

    Others than Kafka's own behave like them as far as ``kafka/`` calls them.
    """

    producer: Callable[[dict[str, Any]], Producer]
    consumer: Callable[[dict[str, Any]], Consumer]
    admin: Callable[[dict[str, Any]], AdminClient]


KAFKA_CLIENTS = Clients(Producer, Consumer, AdminClient)
"""The real ones."""


def common_config(settings: Settings) -> dict[str, Any]:
    """Return what every client has: the address and the user's librdkafka keys."""
    passed_through = {key: secret.get_secret_value() for key, secret in settings.kafka.items()}
    return {"bootstrap.servers": settings.bootstrap_servers, "client.id": "streamserve", **passed_through}


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Return the configuration of the group's consumer.

    ``range`` with a static instance name keeps the partitions of co-read topics together and lets a restarted worker
    take its own back at once. A consumer that outruns its queue would stall for librdkafka's default back-off of 1 s.
    An offset out of range is an error, never a silent jump. Members learn of a rebalance by their next heartbeat: long
    sessions have no slower ones, and a user's own interval holds.
    """
    session_ms = to_milliseconds(settings.session_timeout)
    return {
        "heartbeat.interval.ms": min(max(session_ms // 4, 100), _HEARTBEAT_MS),
        **_reader_config(settings),
        "group.id": group,
        "group.instance.id": settings.instance,
        "partition.assignment.strategy": "range",
        "session.timeout.ms": session_ms,
    }


def restore_config(settings: Settings, group: str, *, isolation: str) -> dict[str, Any]:
    """Return the configuration of a reader that neither joins nor commits; ``group``'s ACL is all that it needs.

    It is told of a partition's end when a fetch comes back empty, for which the broker takes 500 ms by default.
    """
    return {"fetch.wait.max.ms": 10, **_reader_config(settings), "group.id": group, "isolation.level": isolation}


def _reader_config(settings: Settings) -> dict[str, Any]:
    """Return what every reader has.

    A worker far behind on eight partitions holds some 180 MiB of what it fetched. Fetches of 1 MiB would save most of
    that, and fill batches less: the Feast join then takes a third more processor time a record (measured).
    """
    return {
        "fetch.min.bytes": 1,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 50_000,
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "logger": CLIENT_LOG,
        **common_config(settings),
    }


def producer_config(settings: Settings, transactional_id: str, *, alone: bool = False) -> dict[str, Any]:
    """Return the configuration of a transactional producer.

    Keys are partitioned as Java's clients do it. ``alone`` sends each message in a batch of its own. It connects to all
    brokers at once: with librdkafka's default, to connect where it has to, half of the starts of a transactional id
    wait 500 ms for the next look at who is connected (measured: 510 ms; so 3 ms). Its requests wait as long as
    librdkafka lets them, just less than a transaction, but no longer than ``_SOCKET_TIMEOUT_MS``: what librdkafka 2.16
    derives from a transaction of over 35 min counts as past already (2**31 µs), and nothing is ever sent.
    """
    timeout_ms = to_milliseconds(settings.transaction_timeout)
    return {
        "enable.sparse.connections": False,
        "linger.ms": 5,
        "compression.type": "lz4",
        "batch.size": 1 << 18,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1 << 20,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "partitioner": "murmur2_random",
        "retry.backoff.ms": 1,
        "retry.backoff.max.ms": 50,
        "transaction.timeout.ms": timeout_ms,
        "message.timeout.ms": timeout_ms // 2,
        "socket.timeout.ms": min(max(timeout_ms - 100, 900), _SOCKET_TIMEOUT_MS),
        **({"batch.num.messages": 1} if alone else {}),
        "logger": CLIENT_LOG,
        **common_config(settings),
        "transactional.id": transactional_id,
    }


def transactional_ids(app: str, instance: str) -> tuple[str, ...]:
    """Return the ids that one worker uses in turn.

    >>> transactional_ids("flights", "host-0")
    ('flights.host-0.0', 'flights.host-0.1', 'flights.host-0.2')
    """
    return tuple(f"{app}.{instance}.{turn}" for turn in range(_IDS))
