from __future__ import annotations

import pytest

from tests.benchmarks.compare import rounds
from tests.benchmarks.compare.engines import Engine, Program
from tests.benchmarks.compare.environments import Unavailable
from tests.benchmarks.compare.rounds import Plan, ready, run
from tests.benchmarks.compare.trials import TrialFailed

PLAN = Plan(engines=["there", "missing"], events=100_000, rounds=1, rates=[], seconds=1)


def missing() -> Program:
    raise Unavailable("needs a thing: install it")


def test_an_engine_that_cannot_be_had_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Engine(title="There", prepare=lambda: Program(["true"], "1"), share=0.5)
    monkeypatch.setattr(rounds, "ENGINES", {"there": there, "missing": Engine(title="Missing", prepare=missing)})
    told: list[str] = []
    contenders, left_out = ready(PLAN, told.append)
    assert [(item.name, item.events) for item in contenders.values()] == [("there", 50_000)]
    assert left_out == {"missing": "needs a thing: install it"}
    assert "missing is left out: needs a thing: install it" in told


def test_nothing_is_measured_where_no_engine_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = Engine(title="Missing", prepare=missing)
    monkeypatch.setattr(rounds, "ENGINES", {"there": nobody, "missing": nobody})
    with pytest.raises(TrialFailed, match="no engine can run here"):
        run("127.0.0.1:1", PLAN, print)
