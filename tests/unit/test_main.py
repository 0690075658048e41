from __future__ import annotations

import json

from tests.__main__ import checks, demo_problem, steps

SUMMARY = {"events": 9, "predictions": 8, "dead_letters": 1, "lost": 0, "duplicated": 0}


def test_a_summary_in_which_every_event_has_one_outcome_is_fine() -> None:
    assert demo_problem(json.dumps(SUMMARY), events=9) is None


def test_lost_and_duplicated_events_are_named() -> None:
    found = {**SUMMARY, "predictions": 9, "lost": 1, "duplicated": 2}
    assert demo_problem(json.dumps(found), events=9) == (
        "lost is 1, not 0; duplicated is 2, not 0; outcomes is 10, not 9"
    )


def test_a_demo_of_other_events_is_a_problem() -> None:
    assert demo_problem(json.dumps(SUMMARY), events=8) == "events is 9, not 8; outcomes is 9, not 8"


def test_a_last_line_that_is_no_summary_is_a_problem() -> None:
    assert "no summary" in (demo_problem("", events=9) or "")
    assert "'lost'" in (demo_problem('{"events": 9, "predictions": 8, "dead_letters": 1}', events=9) or "")


def test_only_the_last_steps_need_a_broker() -> None:
    needs = [step.needs_broker for step in steps()]
    assert needs == sorted(needs)
    assert any(needs)


def test_checks_and_steps_have_names_of_their_own() -> None:
    names = [part.name for part in [*checks(), *steps()]]
    assert len(set(names)) == len(names) == 9
