from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message

from streamserve.errors import ConfigurationError, TransactionAborted
from streamserve.kafka.deliveries import Deliveries
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Coordinates, Origin, ResultOrigin

ORIGIN = Origin("echo", Coordinates("in", 0, 4))
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
ABORT = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH)
MESSAGE = Message(topic="out", value=b"secret", key=b"k", offset=7)


def test_offsets_of_delivered_messages_are_kept() -> None:
    offsets: list[int | None] = []
    deliveries = Deliveries(Quarantine(), "broker:9092")
    deliveries.watch(ORIGIN, "out", offsets)(None, MESSAGE)
    deliveries.check("close")
    assert (offsets, deliveries.refused) == ([7], None)


@pytest.mark.parametrize("maker", [ORIGIN, "step 'tick'"])
def test_a_message_among_others_is_not_blamed_but_looked_for(maker: Origin | str) -> None:
    quarantine = Quarantine()
    deliveries = Deliveries(quarantine, "broker:9092")
    deliveries.watch(maker, "out")(ABORT, MESSAGE)
    deliveries.watch(maker, "out")(TOO_LARGE, MESSAGE)
    with pytest.raises(TransactionAborted, match=r"close: the broker refused 2 message\(s\).*INVALID_PRODUCER_EPOCH"):
        deliveries.check("close")
    assert (quarantine.careful, quarantine.refused) == (True, {})


def test_a_message_that_travels_alone_names_its_input() -> None:
    quarantine = Quarantine(careful=True)
    Deliveries(quarantine, "broker:9092").watch(ORIGIN, "out")(TOO_LARGE, MESSAGE)
    assert str(quarantine.refused[ORIGIN]) == (
        "the broker refuses the 6 bytes that step 'echo' made of in[0]@4 for 'out':"
        " raise max.message.bytes of 'out' or produce less"
    )


def test_a_result_of_a_window_that_travels_alone_is_refused_from_its_size_on() -> None:
    quarantine = Quarantine(careful=True)
    result = ResultOrigin("w", b"EWR", 10_000, 6)
    for size in (6, 9):
        Deliveries(quarantine, "broker:9092").watch(result._replace(size=size), "out")(TOO_LARGE, MESSAGE)
    assert [quarantine.refuses_result(result._replace(size=size)) for size in (5, 6, 7)] == [False, True, True]
    assert not quarantine.refuses_result(result._replace(start_ms=20_000))
    assert not quarantine.refuses_result(result._replace(key=b"JFK"))


def test_a_result_that_the_client_does_not_even_send_is_refused_as_well() -> None:
    quarantine = Quarantine()
    result = ResultOrigin("w", b"EWR", 10_000, 6)
    ended = Deliveries(quarantine, "broker:9092").judge(TOO_LARGE, "produce to 'out'", result, "out")
    assert isinstance(ended, TransactionAborted)
    assert quarantine.refuses_result(result)


@pytest.mark.parametrize("quarantine", [Quarantine(careful=True), Quarantine(alone=True)])
def test_a_message_that_travels_alone_and_no_input_led_to_is_final(quarantine: Quarantine) -> None:
    on_delivery = Deliveries(quarantine, "broker:9092").watch("step 'tick'", "out")
    with pytest.raises(
        ConfigurationError, match="'out' refuses the 6 bytes made by step 'tick' as too large: raise max"
    ):
        on_delivery(TOO_LARGE, MESSAGE)


def test_what_stays_as_it_is_is_not_tried_again() -> None:
    deliveries = Deliveries(Quarantine(), "broker:9092")
    deliveries.watch(ORIGIN, "out")(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), MESSAGE)
    with pytest.raises(ConfigurationError, match="check credentials, TLS and ACLs"):
        deliveries.check("close")
