"""What an agent uses says clearly when it is used outside a running app."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

import msgspec
import pytest

from streamserve import App, Batch, Regression
from streamserve.dataflow.driving.effects import Send
from streamserve.errors import ConfigurationError, EncodeError
from streamserve.records import Record, to_datetime


class Event(msgspec.Struct, frozen=True):
    n: int


@pytest.fixture
def app() -> App:
    return App("shop")


def first_effect(awaitable: Any) -> Any:
    """Return what a driver would see of ``awaitable``."""
    coroutine = cast("Coroutine[Any, Any, Any]", awaitable)
    try:
        return coroutine.send(None)
    finally:
        coroutine.close()


def test_features_and_models_answer_only_inside_a_running_app(app: App) -> None:
    features, model = app.features("s", event=Event), app.model("m", output=Regression)
    for awaitable in (features.get(Event(1)), model.predict(Event(1)), features.push("s", Event(1))):
        with pytest.raises(ConfigurationError, match="only inside a running app"):
            first_effect(awaitable)
    for ask in (lambda: features.get_many([Event(1)]), lambda: model.predict_many([Event(1)])):
        with pytest.raises(ConfigurationError, match="only inside a running app"):
            ask()


def test_a_send_carries_key_time_and_headers(app: App) -> None:
    topic = app.topic("side", Event, key="n")
    sent = first_effect(topic.send(Event(1), key="k", timestamp=to_datetime(5), headers={"h": b"1"}))
    assert sent == Send("side", Event(1), "k", 5, (("h", b"1"),))
    assert first_effect(topic.send(Event(1))) == Send("side", Event(1), None, 0, ())


def test_headers_must_be_bytes(app: App) -> None:
    headers: Any = {"h": "text"}
    with pytest.raises(EncodeError, match="headers are text to bytes"):
        first_effect(app.topic("side", Event, key="n").send(Event(1), headers=headers))


def test_a_batch_is_a_sequence_whose_records_are_built_when_asked_for() -> None:
    built: list[None] = []

    def records() -> list[Record[str, str]]:
        built.append(None)
        return [Record(value, None, to_datetime(0), "t", 0, n) for n, value in enumerate("abc")]

    batch = Batch("abc", records)
    assert (len(batch), batch[1], list(batch[1:]), list(batch)) == (3, "b", ["b", "c"], ["a", "b", "c"])
    assert built == []
    assert [record.value for record in batch.records] == ["a", "b", "c"]


def test_what_is_declared_shows_its_name(app: App) -> None:
    orders = app.topic("orders", Event, key="n")
    assert repr(orders) == "Topic('orders')"
    scored = app.score(orders, model=app.model("m", output=Regression), to=orders)
    assert repr(scored) == "Agent('score_m')"
