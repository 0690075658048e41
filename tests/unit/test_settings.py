"""Settings come from the command line, the environment and the code, in this order, and keep secrets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from streamserve.errors import ConfigurationError
from streamserve.settings import Settings, load_settings


def test_command_line_beats_environment_beats_code(monkeypatch: pytest.MonkeyPatch) -> None:
    code = {"bootstrap_servers": "code:1", "commit_interval": "1s", "http_port": 1}
    monkeypatch.setenv("STREAMSERVE_BOOTSTRAP_SERVERS", "environment:1")
    monkeypatch.setenv("STREAMSERVE_COMMIT_INTERVAL", "2s")
    settings = load_settings(code, {"bootstrap_servers": "line:1", "commit_interval": None})
    assert (settings.bootstrap_servers, settings.commit_interval, settings.http_port) == ("line:1", "2s", 1)


def test_librdkafka_settings_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSERVE_KAFKA", '{"sasl.password": "hunter2"}')
    settings = load_settings()
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    assert settings.kafka["sasl.password"].get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"no_such_setting": "hunter2"}, "no_such_setting"),
        ({"commit_interval": "hunter2"}, "commit_interval"),
        ({"http_port": 70_000}, "http_port"),
        ({"instance": "has space"}, "instance"),
        ({"max_poll_records": 0}, "max_poll_records"),
    ],
)
def test_what_is_not_allowed_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"settings: .*{said}"):
        load_settings(given)


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.http_port = 1  # pyright: ignore[reportAttributeAccessIssue] - the fault under test
