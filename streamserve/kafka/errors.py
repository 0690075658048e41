"""Kafka's exceptions, translated once."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from streamserve.errors import BrokerUnavailable, ConfigurationError, StreamserveError, TransactionAborted

UNREACHABLE = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # noqa: SLF001 - librdkafka's public codes
_TIMED_OUT = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})  # noqa: SLF001 - librdkafka's public codes
_DENIED = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's public codes
    KafkaError._SSL,  # noqa: SLF001 - librdkafka's public codes
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)
_TOO_OLD = (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE)  # noqa: SLF001 - librdkafka's public codes
_REMEDIES: Mapping[int, str] = {
    **dict.fromkeys(_DENIED, "check credentials, TLS and ACLs"),
    **dict.fromkeys(_TOO_OLD, "exactly-once needs Kafka 2.5 or newer"),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "lower STREAMSERVE_TRANSACTION_TIMEOUT, or raise the broker's transaction.max.timeout.ms"
    ),
    KafkaError.INVALID_RECORD: "it is not valid there; a compacted topic takes no message without a key",
    KafkaError.INVALID_TIMESTAMP: "raise the topic's message.timestamp.before.max.ms and after.max.ms",
    KafkaError.OFFSET_METADATA_TOO_LARGE: (
        "raise its offset.metadata.max.bytes, or regroup from a topic of fewer partitions"
    ),
    KafkaError.POLICY_VIOLATION: "a policy of its administrators forbids it",
    KafkaError.TOPIC_EXCEPTION: "choose another topic name",
}
"""What the broker refuses again and again until somebody does as it says here."""


def kafka_error(exception: KafkaException) -> KafkaError:
    """Return the ``KafkaError`` inside ``exception``."""
    error = exception.args[0] if exception.args else None
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(exception))  # noqa: SLF001 - librdkafka's public codes


def failure_named(name: str, reason: str | None = None) -> KafkaException:
    """Return an exception with Kafka's error ``name``, flagged as the client would in a transaction.

    Time-outs and broken connections leave the outcome open and may be retried; all else asks for an abort
    (librdkafka, INTRODUCTION.md, "Transactional producer errors").

    >>> kafka_error(failure_named("_TIMED_OUT")).retriable()
    True

    Raises:
        KeyError: Kafka has no error of that name.
    """
    code: object = vars(KafkaError).get(name)
    if not isinstance(code, int):
        raise KeyError(name)
    is_open = code in UNREACHABLE or code in _TIMED_OUT
    return KafkaException(KafkaError(code, reason or name, retriable=is_open, txn_requires_abort=not is_open))


_VALUE = re.compile(r'"[^"]*"(?= for configuration property)')


def refusal(error: KafkaError, *, doing: str, brokers: str) -> ConfigurationError | None:
    """Return our error for one that stays whatever is tried again, ``None`` for any other.

    A topic that is not there is none of these: it may have been made anew, or its broker may have just started.
    """
    remedy = _REMEDIES.get(error.code())
    if remedy is None:
        return None
    return ConfigurationError(f"{doing}: {error.str()} ({error.name()}). The broker at {brokers} refuses it: {remedy}.")


def translate(error: KafkaError, *, doing: str, brokers: str) -> StreamserveError:
    """Return our error for ``error``, met while ``doing`` something."""
    text = f"{doing}: {error.str()} ({error.name()})"
    refused = refusal(error, doing=doing, brokers=brokers)
    if refused is not None:
        return refused
    if error.code() in {KafkaError._INVALID_ARG, KafkaError._CONFLICT}:  # noqa: SLF001 - librdkafka's public codes
        return ConfigurationError(
            f"{_VALUE.sub('<hidden>', text)}. Correct the librdkafka key in --set, STREAMSERVE_KAFKA or App(kafka=...)."
        )
    if error.code() in UNREACHABLE or error.code() in _TIMED_OUT:
        return BrokerUnavailable(
            f"{text}. No answer from Kafka at {brokers}: is it running? 'streamserve broker start' starts a local"
            " one, --brokers names another."
        )
    if error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:  # noqa: SLF001 - librdkafka's public codes
        return ConfigurationError(f"{text}. Create it with 'streamserve topics create MODULE:APP'.")
    return TransactionAborted(text)


@contextmanager
def translated(doing: str, brokers: str) -> Generator[None]:
    """Turn a ``KafkaException`` inside the block into one of our errors, chained."""
    try:
        yield
    except KafkaException as exception:
        raise translate(kafka_error(exception), doing=doing, brokers=brokers) from exception
