"""The journal of crashes: what one process leaves to the next, and which records are convicted."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamserve.clock import ManualClock
from streamserve.kafka.quarantine import Quarantine
from streamserve.ops.crashes import ALONE, CAREFUL_SECONDS, PIECE, CrashJournal
from streamserve.records import Coordinates, Origin, Span

TRACE = (
    'Fatal Python error: Segmentation fault\n\nCurrent thread 0x7f (most recent call first):\n  File "model.py", line 3'
)


@dataclass
class Rows:
    of: Sequence[Span]

    def spans(self) -> Sequence[Span]:
        return self.of


def journal(folder: Path, clock: ManualClock | None = None, records: int = 10) -> CrashJournal:
    return CrashJournal(folder, Quarantine(), careful_records=records, clock=clock or ManualClock())


def die(folder: Path, *spans: Span, step: str = "score") -> Quarantine:
    """Let a process with ``spans`` in its agent's hands die; return what it knew."""
    life = journal(folder).__enter__()
    if spans:
        life.observer.entered("agent", step, Rows(spans))
        life.observer.entered("model", "delay")
    hand = (folder / "hand").read_bytes() if (folder / "hand").exists() else b""
    life.__exit__(None, None, None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hand").write_bytes(hand)
    (folder / "trace").write_text(TRACE)
    return life.quarantine


def test_an_ordinary_life_writes_nothing_down_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "app" / "w0" / "crashes"
    with journal(folder) as life:
        life.observer.entered("agent", "score", Rows([Span("in", 0, 1, 9)]))
        assert [path.name for path in folder.iterdir()] == ["trace"]
        assert life.quarantine == Quarantine()
    assert not (tmp_path / "app").exists()


def test_a_record_is_convicted_after_a_piece_and_twice_alone(tmp_path: Path) -> None:
    piece, alone = Span("in", 3, 640, 703), Span("in", 3, 666, 666)
    assert die(tmp_path).piece is None
    second = die(tmp_path, piece)
    assert (second.piece, second.one_by_one) == (PIECE, False)
    third = die(tmp_path, alone)
    assert (third.piece, third.one_by_one, third.suspects) == (PIECE, True, {("in", 3): 704})
    for _ in range(ALONE - 1):
        assert die(tmp_path, alone).refused == {}
    with journal(tmp_path) as last:
        assert list(last.quarantine.refused) == [Origin("score", Coordinates("in", 3, 666))]
        assert [error.reason for error in last.quarantine.refused.values()] == ["crashed"]
        assert last.deaths == 2 + ALONE
        assert last.trace[0] == "Fatal Python error: Segmentation fault"


def test_deaths_outside_of_agents_convict_nobody(tmp_path: Path) -> None:
    knew = [die(tmp_path) for _ in range(5)][-1]
    assert (knew.piece, knew.one_by_one, knew.refused) == (PIECE, False, {})


def test_deaths_in_another_agent_are_counted_by_themselves(tmp_path: Path) -> None:
    alone = Span("in", 0, 7, 7)
    die(tmp_path)
    die(tmp_path, alone, step="score")
    die(tmp_path, alone, step="other")
    with journal(tmp_path) as last:
        assert last.quarantine.refused == {}


def test_a_kill_between_two_crashes_is_not_counted(tmp_path: Path) -> None:
    die(tmp_path)
    die(tmp_path, Span("in", 0, 7, 7))
    (tmp_path / "trace").write_text("")  # SIGKILL: the handler wrote nothing
    with journal(tmp_path) as last:
        assert not last.trace
        assert (last.quarantine.piece, last.quarantine.refused) == (PIECE, {})


def test_care_ends_after_enough_records(tmp_path: Path) -> None:
    die(tmp_path)
    with journal(tmp_path, records=10) as life:
        life.observer.committed(9, 0.1)
        assert life.quarantine.piece == PIECE
        assert life.deaths == 1
        life.observer.committed(1, 0.1)
        assert (life.quarantine.piece, life.deaths) == (None, 0)
    assert not tmp_path.exists() or list(tmp_path.iterdir()) == []


def test_care_ends_with_time_but_not_before_suspects_are_committed(tmp_path: Path) -> None:
    clock = ManualClock()
    die(tmp_path)
    die(tmp_path, Span("in", 0, 1, 64))
    with journal(tmp_path, clock, records=1_000) as life:
        clock.advance(CAREFUL_SECONDS + 1)
        life.observer.committed(1, 0.1)
        assert life.quarantine.piece == PIECE
        life.quarantine.settle({("in", 0): 65})
        life.observer.committed(1, 0.1)
        assert life.quarantine.piece is None


def test_what_was_learnt_is_forgotten_after_a_day(tmp_path: Path) -> None:
    die(tmp_path)
    with journal(tmp_path, ManualClock()):
        pass
    with journal(tmp_path, ManualClock(start_ms=25 * 3_600_000)) as later:
        assert later.quarantine.piece is None


def test_a_folder_that_cannot_be_used_costs_the_journal_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with journal(tmp_path / "file" / "crashes") as life:
        assert "file" in life.unusable
        assert life.quarantine == Quarantine()


def test_faulthandler_is_given_back(tmp_path: Path) -> None:
    before = faulthandler.is_enabled()
    with journal(tmp_path / "crashes"):
        assert faulthandler.is_enabled()
    assert faulthandler.is_enabled() == before


def test_a_segmentation_fault_leaves_a_trace_without_values(tmp_path: Path) -> None:
    program = (
        "import ctypes, sys; from pathlib import Path; from streamserve.ops.crashes import CrashJournal\n"
        "from streamserve.kafka.quarantine import Quarantine\n"
        "def model(secret): ctypes.string_at(0)\n"
        "with CrashJournal(Path(sys.argv[1]), Quarantine()): model('hunter2')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -11
    with journal(tmp_path) as life:
        assert any(line.endswith("in model") for line in life.trace)
        assert "hunter2" not in str(life.trace)
