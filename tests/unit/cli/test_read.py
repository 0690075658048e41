"""``streamserve read`` before it asks a broker, and how records are shown; ``tests/integration/test_read.py`` reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.cli.shown import ShownRecord, shown, shown_state


@dataclass(frozen=True, slots=True)
class Taken:
    """A record as the client delivers it."""

    given_value: bytes | None
    given_key: bytes | None = b"ann"
    given_headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])

    def value(self) -> bytes | None:
        return self.given_value

    def key(self) -> bytes | None:
        return self.given_key

    def topic(self) -> str | None:
        return "clicks"

    def partition(self) -> int | None:
        return 2

    def offset(self) -> int | None:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_500

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.given_headers


def told(words: str) -> str:
    """Return a message without the frame that the terminal draws around it."""
    return " ".join(words.replace("│", "").split())


def test_a_topic_that_the_app_does_not_have_is_wrong_usage_and_those_it_has_are_named(shop: str) -> None:
    result = CliRunner().invoke(main, ["read", shop, "clack"])
    assert result.exit_code == 2
    assert "there is clicks, visits, shop-dead-letters" in told(result.output)


@pytest.mark.parametrize(("topic", "maker"), [("drift", "app.monitor"), ("shop-performance", "app.labels")])
def test_a_topic_of_the_engine_s_that_the_app_does_not_have_comes_with_who_would_make_it(
    shop: str, topic: str, maker: str
) -> None:
    result = CliRunner().invoke(main, ["read", shop, topic])
    assert result.exit_code == 2
    assert f"({maker} makes one)" in told(result.output)


@pytest.mark.parametrize("where", ["yesterday", "5x", "2026-13-01", "-1h"])
def test_a_place_that_means_nothing_is_wrong_usage(shop: str, where: str) -> None:
    result = CliRunner().invoke(main, ["read", shop, "clicks", "--from", where])
    assert result.exit_code == 2
    assert "no place to begin" in told(result.output)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        ('{"city": "Zürich"}'.encode(), '{"city": "Zürich"}'),
        (b"null", "null"),
        (None, "null"),
        (b"[1, NaN]", "[1, NaN]"),
        (b"plain", "plain"),
        (b"", ""),
        (b"\xff\x00\x01", "<3 bytes>"),
    ],
)
def test_values_are_shown_as_what_they_are(value: bytes | None, text: str) -> None:
    assert shown(Taken(value)).text == text


def test_a_record_as_data_has_its_coordinates_time_and_headers() -> None:
    assert shown(Taken(b"{}", None, [("by", b"hand"), ("odd", None)])).as_data() == {
        "topic": "clicks",
        "partition": 2,
        "offset": 7,
        "time": "1970-01-01T00:00:01.500Z",
        "key": None,
        "value": {},
        "headers": {"by": "hand", "odd": ""},
    }


def test_bytes_that_are_no_text_come_as_base64() -> None:
    data = shown(Taken(b"\xff\x00")).as_data()
    assert (data["value"], data["value_base64"]) == (None, "/wA=")


def test_a_dead_letter_says_why_and_where_from() -> None:
    headers: list[tuple[str, bytes | None]] = [
        ("step", b"decode"),
        ("reason", b"decode"),
        ("message", b"page: missing"),
        ("source-topic", b"clicks"),
        ("source-partition", b"1"),
        ("source-offset", b"9"),
    ]
    record = shown(Taken(b"{", b"ann", headers))
    row = dict(zip(ShownRecord.columns(dead=True), record.row(dead=True), strict=True))
    assert row == {
        "partition": 2,
        "offset": 7,
        "source": "clicks[1]@9",
        "key": "ann",
        "why": "decode at decode: page: missing",
        "value": "{",
    }


def test_a_value_in_a_changelog_is_shown_under_the_users_key() -> None:
    record = shown_state(Taken(b"\x01" + bytes(8) + b"5", b"\x00k"))
    assert (record.key, record.value) == ("", 5)
    assert shown_state(Taken(None, b"ann")).value is None
