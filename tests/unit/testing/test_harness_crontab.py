"""Timers by period and by crontab: per partition, per worker and once in the app, with outputs or with sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from streamserve import App, Stream, Topic
from streamserve.dataflow.planning.nodes import Per
from streamserve.errors import PlanError
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

NIGHT = datetime(2024, 1, 1, 23, 50, tzinfo=UTC)


class Note(msgspec.Struct, frozen=True):
    text: str


def new_app() -> tuple[App, Topic[Note, str], Topic[Note, str]]:
    app = App("cron")
    notes = app.topic("notes", Note, key="text")

    @app.agent(notes)
    async def read(stream: Stream[Note]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for _ in stream:
            pass

    return app, notes, app.topic("reports", Note, key="text")


@pytest.mark.parametrize(("per", "runs"), [("partition", 3), ("worker", 1), ("app", 1)])
def test_a_crontab_runs_at_its_time_as_often_as_it_says(per: Per, runs: int) -> None:
    app, notes, reports = new_app()

    @app.crontab("0 1 * * *", timezone="Europe/Berlin", to=reports, per=per)
    async def nightly() -> AsyncIterator[Note]:  # pyright: ignore[reportUnusedFunction]
        yield Note("midnight in UTC")

    with Harness(app, partitions=3, now=NIGHT) as harness:
        harness.send(notes, Note("a"))
        harness.advance("9m")
        assert harness.read(reports) == []
        harness.advance("2m")
        assert len(harness.read(reports)) == runs
        harness.advance("1h")
        assert len(harness.read(reports)) == runs


def test_a_restart_shifts_no_timer_and_what_was_missed_meanwhile_is_not_made_up_for() -> None:
    app, notes, reports = new_app()

    @app.timer("10m", to=reports)
    async def every_ten_minutes() -> AsyncIterator[Note]:  # pyright: ignore[reportUnusedFunction]
        yield Note("ten minutes")

    with Harness(app, now=NIGHT) as harness:
        harness.send(notes, Note("a"))
        harness.advance("15m")
    clock, _ = harness.kafka
    clock.advance(28 * 60)
    with Harness(app, after=harness) as again:
        again.advance("8m")
    times = [record.timestamp - NIGHT for record in again.read(reports)]
    assert times == [timedelta(minutes=minutes) for minutes in (10, 50)]


@pytest.mark.parametrize("fault", ["crash", "abort", "fence", "rebalance"])
def test_a_run_of_a_timer_whose_transaction_fails_is_over(fault: Fault) -> None:
    app, notes, reports = new_app()

    @app.timer("10m", to=reports)
    async def every_ten_minutes() -> AsyncIterator[Note]:  # pyright: ignore[reportUnusedFunction]
        yield Note("ten minutes")

    with Harness(app, now=NIGHT) as harness:
        harness.send(notes, Note("a"))
        harness.fault(fault)
        harness.advance("25m")
        times = [record.timestamp - NIGHT for record in harness.read(reports)]
    assert times == [timedelta(minutes=minutes) for minutes in ((10, 20) if fault == "rebalance" else (20,))]


@pytest.mark.parametrize("per", ["partition", "worker", "app"])
def test_a_timer_without_a_topic_is_a_coroutine_that_sends(per: Per) -> None:
    app, notes, reports = new_app()

    @app.timer("1m", per=per, name="minute")
    async def every_minute() -> None:  # pyright: ignore[reportUnusedFunction]
        await reports.send(Note("a minute"))

    with Harness(app, partitions=1, now=NIGHT) as harness:
        harness.send(notes, Note("a"))
        harness.advance("1m")
        assert [record.value.text for record in harness.read(reports)] == ["a minute"]


def test_a_timer_is_refused_whose_function_does_not_fit_its_topic() -> None:
    app, _, reports = new_app()

    async def sends() -> None: ...

    async def yields() -> AsyncIterator[Note]:
        yield Note("x")

    with pytest.raises(PlanError, match="with a yield"):
        app.timer("1m", to=reports)(sends)  # pyright: ignore[reportArgumentType] - the mistake
    with pytest.raises(PlanError, match="without a yield"):
        app.crontab("* * * * *")(yields)  # pyright: ignore[reportArgumentType, reportCallIssue] - the mistake
    app.timer("1m", to=reports)(yields)
    with pytest.raises(PlanError, match="another agent or timer"):
        app.crontab("* * * * *", to=reports)(yields)


def test_the_plan_shows_when_timers_run() -> None:
    from streamserve.dataflow.render import as_json, as_mermaid, as_text

    app, _, reports = new_app()

    @app.crontab("*/5 * * * *", timezone="Europe/Berlin", per="app")
    async def tidy() -> None:  # pyright: ignore[reportUnusedFunction]
        await reports.send(Note("x"))

    plan = app.plan()
    assert "timer   tidy at '*/5 * * * *' in Europe/Berlin per app" in as_text(plan)
    assert as_json(plan)["timers"][0]["crontab"] == {"expression": "*/5 * * * *", "timezone": "Europe/Berlin"}
    assert "tidy" in as_mermaid(plan)
