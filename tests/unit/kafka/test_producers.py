"""What the producers make of the client's whims."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.errors import kafka_error
from streamserve.kafka.producers import Producers
from streamserve.settings import load_settings


class Losing:
    """A client that is fenced while it flushes, and loses the exception."""

    def init_transactions(self, seconds: float) -> None:
        del seconds

    def flush(self, seconds: float) -> int:
        del seconds
        raise SystemError("flush returned NULL without setting an exception")


def test_a_fatal_error_that_the_client_loses_in_a_flush_is_one_of_kafka() -> None:
    clients = Clients(lambda _: cast("Any", Losing()), KAFKA_CLIENTS.consumer, KAFKA_CLIENTS.admin)
    producers = Producers("app", load_settings({"instance": "w0"}), Calls(clients=clients), alone=False)
    with pytest.raises(KafkaException) as raised:
        producers.flush(lambda: False)
    assert kafka_error(raised.value).code() == KafkaError._FATAL
