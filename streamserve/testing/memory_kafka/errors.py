"""Kafka's errors, as a broker or its client would raise them."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

FENCED = KafkaError._FENCED  # noqa: SLF001 - librdkafka's public code
DESTROYED = KafkaError._DESTROY  # noqa: SLF001 - librdkafka's public code
PARTITION_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code
TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001 - librdkafka's public code
WRONG_STATE = KafkaError._STATE  # noqa: SLF001 - librdkafka's public code
OUT_OF_RANGE = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - librdkafka's public code


def unknown_topic(topic: str) -> KafkaException:
    """Return the refusal of a topic, or partition, that is not there."""
    return KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"no topic partition {topic} in memory"))


def fenced(transactional_id: str) -> KafkaException:
    """Return the end of a producer whose transactional id has a newer one."""
    return KafkaException(KafkaError(FENCED, f"{transactional_id}: a newer producer has this id", fatal=True))


def must_abort(code: int, reason: str) -> KafkaException:
    """Return an error after which the transaction can only be aborted."""
    return KafkaException(KafkaError(code, reason, txn_requires_abort=True))


def wrong_state(reason: str) -> KafkaException:
    """Return the refusal of a call that does not fit the client's state."""
    return KafkaException(KafkaError(WRONG_STATE, reason))


def destroyed() -> KafkaException:
    """Return the answer of a client whose process is dead."""
    return KafkaException(KafkaError(DESTROYED, "the process of this client has died"))


def not_stable() -> KafkaException:
    """Return the answer to a stable read of offsets that an open transaction commits."""
    return KafkaException(KafkaError(TIMED_OUT, "a transaction that commits these offsets is open", retriable=True))
