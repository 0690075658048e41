from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from streamserve.kafka.clients import (
    common_config,
    consumer_config,
    producer_config,
    restore_config,
    transactional_ids,
)
from streamserve.settings import Settings

MAKERS: Mapping[str, Callable[[Settings], dict[str, Any]]] = {
    "common": common_config,
    "consumer": lambda settings: consumer_config(settings, "app"),
    "restore": lambda settings: restore_config(settings, "app", isolation="read_committed"),
    "producer": lambda settings: producer_config(settings, "app.w0.0"),
}


def settings_of(**given: Any) -> Settings:
    return Settings(bootstrap_servers="broker:9092", instance="w0", **given)


@pytest.mark.parametrize("client", MAKERS)
def test_the_user_s_keys_reach_every_client_and_win(client: str) -> None:
    keys = {
        "sasl.password": "hush",
        "security.protocol": "sasl_ssl",
        "client.id": "mine",
        "socket.keepalive.enable": "true",
    }
    config = MAKERS[client](settings_of(kafka=keys))
    assert {key: config[key] for key in keys} == keys
    assert config["bootstrap.servers"] == "broker:9092"


def test_secrets_do_not_show_in_settings() -> None:
    settings = settings_of(kafka={"sasl.password": "hush-hush"})
    assert "hush-hush" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_the_consumer_keeps_its_place_and_never_jumps() -> None:
    config = consumer_config(settings_of(session_timeout="8s"), "app")
    assert config["group.instance.id"] == "w0"
    assert config["partition.assignment.strategy"] == "range"
    assert config["session.timeout.ms"] == 8000
    assert config["auto.offset.reset"] == "error"
    assert config["isolation.level"] == "read_committed"
    assert config["enable.auto.commit"] is False


def test_a_message_times_out_before_its_transaction() -> None:
    config = producer_config(settings_of(transaction_timeout="20s"), "app.w0.0")
    assert config["transaction.timeout.ms"] == 20_000
    assert config["message.timeout.ms"] < config["transaction.timeout.ms"]


@pytest.mark.parametrize(("transaction", "request_ms"), [("1s", 900), ("20s", 19_900), ("15m", 60_000), ("2h", 60_000)])
def test_a_request_times_out_before_its_transaction_and_within_what_the_client_can_count(
    transaction: str, request_ms: int
) -> None:
    config = producer_config(settings_of(transaction_timeout=transaction), "app.w0.0")
    assert config["socket.timeout.ms"] == request_ms


def test_keys_are_partitioned_as_java_does_it() -> None:
    assert producer_config(settings_of(), "app.w0.0")["partitioner"] == "murmur2_random"


def test_messages_travel_alone_only_where_asked() -> None:
    assert "batch.num.messages" not in producer_config(settings_of(), "app.w0.0")
    assert producer_config(settings_of(), "app.w0.0", alone=True)["batch.num.messages"] == 1


def test_a_worker_has_ids_that_no_other_has() -> None:
    assert len({*transactional_ids("app", "w0"), *transactional_ids("app", "w1"), *transactional_ids("b", "w0")}) == 9


@pytest.mark.parametrize(
    ("session", "own", "interval"),
    [("10s", {}, 2_500), ("240s", {}, 3_000), ("10s", {"heartbeat.interval.ms": "9"}, 9)],
)
def test_heartbeats_are_a_quarter_of_a_session_or_kafkas_or_the_users(
    session: str, own: dict[str, str], interval: int
) -> None:
    config = consumer_config(settings_of(session_timeout=session, kafka=own), "app")
    assert int(config["heartbeat.interval.ms"]) == interval
