"""Kafka's exceptions, translated once."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from streamserve.errors import BrokerUnavailable, ConfigurationError, StreamserveError, TransactionAborted

UNREACHABLE = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # noqa: SLF001 - librdkafka's public codes
_TIMED_OUT = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})  # noqa: SLF001 - librdkafka's public codes
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - librdkafka's public codes
        KafkaError._SSL,  # noqa: SLF001 - librdkafka's public codes
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)


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


def translate(error: KafkaError, *, doing: str, brokers: str) -> StreamserveError:
    """Return our error for ``error``, met while ``doing`` something."""
    text = f"{doing}: {error.str()} ({error.name()})"
    if error.code() in _REFUSED:
        return ConfigurationError(f"{text}. The broker at {brokers} refuses it: check credentials, TLS and ACLs.")
    if error.code() in {KafkaError._INVALID_ARG, KafkaError._CONFLICT}:  # noqa: SLF001 - librdkafka's public codes
        return ConfigurationError(
            f"{_VALUE.sub('<hidden>', text)}. Correct the librdkafka key in --set, STREAMSERVE_KAFKA or App(kafka=...)."
        )
    if error.code() in UNREACHABLE or error.code() in _TIMED_OUT:
        return BrokerUnavailable(
            f"{text}. No answer from Kafka at {brokers}: is it running? 'streamserve broker status' tells of a local"
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
