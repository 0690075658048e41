from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from compose.dashboards import BOARDS
from compose.dashboards.__main__ import FOLDER, main
from compose.dashboards.board import Board

from .queries import exported, filled, unknown


@pytest.fixture(params=BOARDS, ids=lambda board: board.uid)
def board(request: pytest.FixtureRequest) -> Board:
    return request.param


def panels_of(board: Board) -> list[dict[str, Any]]:
    return json.loads((FOLDER / f"{board.uid}.json").read_text())["panels"]


def test_the_committed_files_are_what_the_program_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_no_query_asks_for_what_no_worker_exports(board: Board) -> None:
    known = exported()
    problems = {name: unknown(filled(query), known) for name, query in board.expressions()}
    assert {name: found for name, found in problems.items() if found} == {}


def test_a_query_for_what_nobody_has_is_found() -> None:
    known = exported()
    assert unknown("rate(streamserve_records_lost_total[1m])", known) == ["no series streamserve_records_lost_total"]
    assert unknown('streamserve_lag_records{table="a"}', known) == ["streamserve_lag_records has no label table"]
    assert unknown("sum by (table) (streamserve_lag_records)", known) == ["no label table to group by"]


def test_every_panel_is_in_the_file_with_a_help_text_and_queries_of_different_names(board: Board) -> None:
    panels = [panel for panel in panels_of(board) if panel["type"] != "row"]
    assert [panel["title"] for panel in panels] == [panel.title for row in board.rows for panel in row.panels]
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        names = Counter(target["refId"] for target in panel["targets"])
        assert set(names.values()) == {1}, panel["title"]


def test_panels_stay_within_24_columns_and_do_not_overlap(board: Board) -> None:
    squares: Counter[tuple[int, int]] = Counter()
    for place in (panel["gridPos"] for panel in panels_of(board)):
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        squares.update((column, line) for column in columns for line in lines)
    assert max(column for column, _ in squares) < 24
    assert set(squares.values()) == {1}


def test_titles_name_one_panel_each(board: Board) -> None:
    titles = Counter(panel.title for row in board.rows for panel in row.panels)
    assert [title for title, count in titles.items() if count > 1] == []
