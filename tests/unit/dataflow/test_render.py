"""The three forms of a plan, and that each shows all of it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from streamserve import App, Batch, Binary, Stream, count, tumbling
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.render import as_json, as_mermaid, as_text


class Event(BaseModel):
    user: str
    at: datetime


class Score(BaseModel):
    user: str
    probability: float


def whole_plan() -> Plan:
    """One of everything."""
    app = App("whole")
    updates = app.topic("updates", Event, key="user", event_time="at")
    events = app.topic("events.v1", Event, key="user", event_time="at")
    raw = app.topic("raw")
    scores = app.topic("scores", Score, key=lambda score: score.user)
    visits = app.aggregate("visits", events, count(), window=tumbling("1h"))
    by_hour = events.key_by(lambda event: event.at.hour, name="hours")
    busy = app.aggregate("busy", by_hour, count(), window=tumbling("1d"), to=scores)
    seen = app.table("seen", int, default=int)
    features = app.features("users_v1", event=Event, log=0.5, windows={"visits": visits})
    features.push_from(updates, push_source="updates")
    model = app.model("spam", inputs=[Event, features], output=Binary, version="3")
    app.score(events, features=features, model=model, to=scores)
    app.monitor(model, detectors=[], window="1h")

    @app.batch_agent(raw, to=scores)
    def decode(batch: Batch[bytes, bytes]) -> Sequence[Score | None]:
        return [None] * len(batch)

    @app.agent(events)
    async def look(stream: Stream[Event]) -> None:
        async for event in stream:
            seen.update(event.user, lambda n: n + 1)

    @app.timer("1m", to=scores)
    async def beat() -> AsyncIterator[Score]:
        yield Score(user="", probability=0)

    assert all((decode, look, beat, busy))
    return app.plan()


NAMES = ("updates", "events.v1", "raw", "scores", "users_v1", "spam", "score_spam", "decode", "look", "beat")
STATE = ("visits", "busy", "whole-hours-regrouped")
ENGINE = ("whole-dead-letters", "whole-drift", "whole-features")
CHANGELOGS = ("whole-state-changelog", "whole-seen-changelog", "whole-visits-changelog", "whole-busy-changelog")


def test_every_form_names_everything() -> None:
    plan = whole_plan()
    texts = (as_text(plan), as_mermaid(plan), json.dumps(as_json(plan)))
    for text in texts:
        assert [name for name in (*NAMES, *STATE, *ENGINE) if name not in text] == []
    assert [name for name in CHANGELOGS if name not in texts[0] or name not in texts[2]] == []
    assert [name for name in CHANGELOGS if name in texts[1]] == []


def test_text_is_an_outline_of_the_parts() -> None:
    assert as_text(whole_plan()).splitlines()[:9] == [
        "app whole",
        "  part updates (merged by event time)",
        "    reads   updates: Event, key user, time at",
        "    reads   events.v1: Event, key user, time at",
        "    pushes  updates -> updates of features users_v1",
        "    regroup events.v1 by function -> whole-hours-regrouped",
        "    window  visits: count() of events.v1, tumbling 1h",
        "    table   seen: int by str",
        "    agent   score_spam (score) on events.v1, features users_v1, model spam -> scores",
    ]


def test_json_is_plain_and_the_same_for_the_same_plan() -> None:
    data = as_json(whole_plan())
    assert json.loads(json.dumps(data)) == data == as_json(whole_plan())
    model: dict[str, Any] = data["models"][0]
    assert model == {
        "name": "spam",
        "inputs": ["Event", "users_v1"],
        "output": "Binary",
        "version": "3",
        "alias": None,
    }
    assert [topic["key"] for topic in data["topics"]] == ["user", "user", None, "function", "function"]


def test_mermaid_edges_join_nodes_that_are_drawn() -> None:
    lines = as_mermaid(whole_plan()).splitlines()
    drawn = {found[1] for line in lines if (found := re.match(r"  (n\d+)[\[({]", line))}
    edges = [re.findall(r"\bn\d+\b", line) for line in lines if ">" in line]
    assert len(edges) == 19
    assert all(len(edge) == 2 and set(edge) <= drawn for edge in edges)
