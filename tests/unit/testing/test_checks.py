"""How outcomes read from Kafka name their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamserve.errors import BrokerUnavailable
from streamserve.testing.checks import ReadRecord, SourceHeaders, read_topic


def outcome(headers: Sequence[tuple[str, str | bytes | None]]) -> ReadRecord:
    return ReadRecord("delays", 0, 0, None, b"{}", headers, 0)


def test_the_names_of_the_source_headers_are_the_callers() -> None:
    record = outcome([("t", b"flights"), ("p", b"1"), ("o", b"17"), ("step", b"predict")])
    assert SourceHeaders("t", "p", "o")(record) == ("flights", 1, 17)


def test_the_first_source_headers_count() -> None:
    own = [("source-topic", b"elsewhere"), ("source-partition", b"9"), ("source-offset", b"9")]
    first = [("source-topic", b"flights"), ("source-partition", b"1"), ("source-offset", b"17")]
    assert SourceHeaders()(outcome([*first, *own])) == ("flights", 1, 17)


@pytest.mark.parametrize("offset", [b"", b"x", None])
def test_a_broken_source_header_names_no_source(offset: bytes | None) -> None:
    record = outcome([("source-topic", b"flights"), ("source-partition", b"1"), ("source-offset", offset)])
    assert SourceHeaders()(record) is None


def test_missing_source_headers_name_no_source() -> None:
    assert SourceHeaders()(outcome([])) is None


def test_a_broker_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamserve.testing.reading._ANSWER_S", 0.2)
    with pytest.raises(BrokerUnavailable, match=r"no answer from 127\.0\.0\.1:9"):
        read_topic("127.0.0.1:9", "flights", config={"log_level": 0})
