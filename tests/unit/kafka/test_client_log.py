"""What clients tell reads like news, once, and is told through Python's logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from streamserve.kafka.client_log import CLIENT_LOG, News
from streamserve.kafka.clients import consumer_config, producer_config
from streamserve.settings import Settings

NOWHERE = Settings(bootstrap_servers="127.0.0.1:1", instance="w0")


def line(facility: str, text: str, client: str = "streamserve#producer-1", **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": "%s [%s] %s", "args": (facility, client, text), "levelno": 30, **more})


def test_a_line_is_told_again_after_a_minute_and_others_at_once() -> None:
    now = [0.0]
    news = News(lambda: now[0])
    assert news.filter(line("FAIL", "[thrd:a:9092/1]: refused (after 10ms)"))
    assert not news.filter(line("FAIL", "[thrd:a:9092/2]: refused (after 3ms)", "streamserve#consumer-7"))
    assert news.filter(line("SESSTMOUT", "[thrd:main]: timed out"))
    now[0] = 61.0
    assert news.filter(line("FAIL", "[thrd:a:9092/1]: refused (after 10ms)"))


def test_tries_that_the_client_repeats_by_itself_are_no_news() -> None:
    assert not News().filter(line("GETPID", "Failed to acquire transactional PID: load in progress: retrying"))


def test_what_is_remembered_is_bounded_and_other_lines_pass() -> None:
    news = News()
    assert all(news.filter(line("FAIL", f"{chr(97 + n // 26)}{chr(97 + n % 26)}")) for n in range(600))
    assert news.filter(logging.makeLogRecord({"msg": "by hand", "levelno": 30}))


def test_what_somebody_debugs_is_told_in_full() -> None:
    news = News()
    assert [news.filter(line("GETPID", "Acquiring", levelno=logging.DEBUG)) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    ("client", "config"),
    [(Producer, producer_config(NOWHERE, "app.w0.0")), (Consumer, consumer_config(NOWHERE, "app"))],
    ids=["producer", "consumer"],
)
def test_a_client_without_a_broker_tells_the_log_and_prints_nothing(
    client: Any,
    config: Mapping[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CLIENT_LOG, "filters", [News()])
    monkeypatch.setattr(logging.getLogger(), "handlers", [caplog.handler])
    made = client(dict(config))
    give_up = time.monotonic() + 60
    while not caplog.records and time.monotonic() < give_up:
        made.poll(0.1)
    assert caplog.records[0].name == "librdkafka"
    assert "127.0.0.1:1" in caplog.text
    assert capfd.readouterr().err == ""
