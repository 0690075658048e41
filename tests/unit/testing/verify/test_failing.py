"""What workers fail at in a storm is chosen so that enough of it comes about, and counted."""

from __future__ import annotations

import random
from pathlib import Path

from streamserve.testing.faults import parse_faults
from streamserve.testing.verify.failing import Failing, Forced

UNANSWERED = "producer.commit_transaction:{}:5:raise=_TIMED_OUT"
ABORT = "producer.flush:before:3:raise=INVALID_PRODUCER_EPOCH"


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - no secret


def test_a_start_has_one_error_and_one_commit_without_an_answer_and_half_of_them_end_themselves(tmp_path: Path) -> None:
    failing = Failing(chance(1), tmp_path / "notes")
    starts = [parse_faults(failing.choose(10)) for _ in range(200)]
    raised = [[fault for fault in start if fault.action == "raise"] for start in starts]
    assert {len(faults) for faults in raised} == {2}
    assert {tuple(sorted(fault.error == "_TIMED_OUT" for fault in faults)) for faults in raised} == {(False, True)}
    assert 60 < sum(any(fault.action == "kill" for fault in start) for start in starts) < 140


def test_failures_that_were_wanted_and_did_not_come_are_made_up_for(tmp_path: Path) -> None:
    failing = Failing(chance(1), tmp_path / "notes", aborts=20, unknown=2)
    (tmp_path / "notes").write_text("\n".join([ABORT] * 8))
    faults = [fault for fault in parse_faults(failing.choose(6)) if fault.action == "raise"]
    assert sorted(fault.error for fault in faults) == ["INVALID_PRODUCER_EPOCH"] * 4 + ["_TIMED_OUT"]


def test_the_same_seed_chooses_the_same(tmp_path: Path) -> None:
    one, two = (Failing(chance(7), tmp_path / "notes") for _ in range(2))
    assert [one.choose(3) for _ in range(20)] == [two.choose(3) for _ in range(20)]


def test_what_happened_is_counted_from_the_notes() -> None:
    notes = [
        ABORT,
        ABORT,
        UNANSWERED.format("before"),
        UNANSWERED.format("after"),
        "settled 3",
        UNANSWERED.format("after"),
    ]
    forced = Forced.told([*notes, "producer.flush:after:9:kill"])
    assert forced == Forced(aborts=2, done=2, undone=1, settled=3)
    assert forced.as_dict() == {
        "forced_aborts": 2,
        "forced_unknown": 3,
        "unknown_committed": 2,
        "unknown_aborted": 1,
        "settled_by_itself": 3,
        "settled_by_successor": 2,
    }
