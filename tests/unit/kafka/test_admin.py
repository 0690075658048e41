"""Without a broker one message says so, with the cause; librdkafka prints nothing beside it."""

from __future__ import annotations

import socket

import pytest

from streamserve.errors import BrokerUnavailable
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_a_broker_that_is_away_is_told_of_once_with_the_cause(nobody: str, capfd: pytest.CaptureFixture[str]) -> None:
    admin = Admin(load_settings({"bootstrap_servers": nobody, "shutdown_timeout": "300ms"}))
    with pytest.raises(BrokerUnavailable, match=r"broker start.* The last try: .*Connection refused") as raised:
        admin.partitions()
    assert nobody in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_whoever_wants_librdkafkas_own_words_gets_them(nobody: str, capfd: pytest.CaptureFixture[str]) -> None:
    admin = Admin(
        load_settings({"bootstrap_servers": nobody, "shutdown_timeout": "300ms", "kafka": {"log_level": "6"}})
    )
    with pytest.raises(BrokerUnavailable):
        admin.partitions()
    assert "Connection refused" in capfd.readouterr().err
