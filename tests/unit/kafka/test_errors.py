from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamserve.errors import BrokerUnavailable, ConfigurationError, StreamserveError, TransactionAborted
from streamserve.kafka.errors import failure_named, kafka_error, refusal, translate, translated


@pytest.mark.parametrize(
    ("name", "kind", "remedy"),
    [
        ("_TRANSPORT", BrokerUnavailable, "streamserve broker start"),
        ("_ALL_BROKERS_DOWN", BrokerUnavailable, "streamserve broker start"),
        ("_TIMED_OUT", BrokerUnavailable, "streamserve broker start"),
        ("SASL_AUTHENTICATION_FAILED", ConfigurationError, "credentials, TLS and ACLs"),
        ("TOPIC_AUTHORIZATION_FAILED", ConfigurationError, "credentials, TLS and ACLs"),
        ("INVALID_TRANSACTION_TIMEOUT", ConfigurationError, "STREAMSERVE_TRANSACTION_TIMEOUT"),
        ("UNSUPPORTED_VERSION", ConfigurationError, "Kafka 2.5 or newer"),
        ("INVALID_RECORD", ConfigurationError, "without a key"),
        ("INVALID_TIMESTAMP", ConfigurationError, "message.timestamp.before.max.ms"),
        ("UNKNOWN_TOPIC_OR_PART", ConfigurationError, "streamserve topics create"),
        ("_INVALID_ARG", ConfigurationError, "STREAMSERVE_KAFKA"),
        ("ILLEGAL_GENERATION", TransactionAborted, "ILLEGAL_GENERATION"),
        ("_FENCED", TransactionAborted, "_FENCED"),
    ],
)
def test_each_error_becomes_the_situation_it_is_with_a_remedy(
    name: str, kind: type[StreamserveError], remedy: str
) -> None:
    error = translate(kafka_error(failure_named(name)), doing="poll", brokers="broker:9092")
    assert type(error) is kind
    assert str(error).startswith("poll: ")
    assert remedy in str(error)


@pytest.mark.parametrize("name", ["UNKNOWN_TOPIC_OR_PART", "_INVALID_ARG", "_TIMED_OUT", "INVALID_PRODUCER_EPOCH"])
def test_what_may_pass_or_has_another_reason_is_no_refusal(name: str) -> None:
    assert refusal(kafka_error(failure_named(name)), doing="commit", brokers="broker:9092") is None


def test_the_original_exception_is_chained() -> None:
    original = failure_named("_TRANSPORT")
    with (
        pytest.raises(BrokerUnavailable, match=r"No answer from Kafka at broker:9092") as raised,
        translated("poll", "broker:9092"),
    ):
        raise original
    assert raised.value.__cause__ is original


def test_what_is_not_kafka_s_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), translated("poll", "broker:9092"):
        raise ZeroDivisionError


def test_an_exception_without_an_error_inside_is_still_one() -> None:
    assert kafka_error(KafkaException("odd")).code() == KafkaError._FAIL


def test_a_refused_setting_is_named_without_its_value() -> None:
    refused = KafkaError(
        KafkaError._INVALID_ARG, 'Invalid value "hush-hush" for configuration property "sasl.mechanism"'
    )
    text = str(translate(refused, doing="open a producer", brokers="broker:9092"))
    assert "sasl.mechanism" in text
    assert "hush-hush" not in text
