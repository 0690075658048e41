"""What the producers make of the client's whims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.errors import kafka_error
from streamserve.kafka.producers import Producers
from streamserve.settings import load_settings


class Losing:
    """A client that is fenced while it serves its queue, and loses the exception."""

    def init_transactions(self, seconds: float) -> None:
        del seconds

    def flush(self, seconds: float) -> int:
        del seconds
        raise SystemError("flush returned NULL without setting an exception")

    def poll(self, seconds: float) -> int:
        return self.flush(seconds)

    def purge(self) -> None: ...

    def produce(self, *_: object, **__: object) -> None:
        raise BufferError

    def __len__(self) -> int:
        return 1


CALLS: dict[str, Callable[[Producers], object]] = {
    "flush": lambda producers: producers.flush(lambda: False),
    "serve": lambda producers: producers.serve(),
    "send": lambda producers: producers.send_columns("out", [b"v"], [b"k"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_fatal_error_that_the_client_loses_is_one_of_kafka(call: Callable[[Producers], object]) -> None:
    clients = Clients(lambda _: cast("Any", Losing()), KAFKA_CLIENTS.consumer, KAFKA_CLIENTS.admin)
    producers = Producers("app", load_settings({"instance": "w0"}), Calls(clients=clients), alone=False)
    with pytest.raises(KafkaException) as raised:
        call(producers)
    assert kafka_error(raised.value).code() == KafkaError._FATAL
    producers.close()
