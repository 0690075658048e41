"""The page of errors: whole, true, and linked from where users look."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from streamserve import errors
from streamserve.errors import RecordError, StreamserveError
from streamserve.ops.error_page import entries, error_page, main

ROOT = Path(__file__).parents[3]


def test_every_error_is_on_the_page_with_its_cause_and_remedy() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, StreamserveError) and kind is not StreamserveError
    ]
    rows = [line for line in error_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(kinds) > 20
    for kind in kinds:
        [row] = [row for row in rows if row.startswith((f"| `{kind.__name__}` |", f"| `{kind.__name__}` (`"))]
        assert all(len(cell.strip()) > 10 for cell in row.split(" | ")[1:3])


def test_the_page_that_is_published_is_what_the_code_says() -> None:
    assert main(["--check", "--to", str(ROOT / "schemas" / "errors.md")]) == 0
    assert "(schemas/errors.md)" in (ROOT / "README.md").read_text()


def test_every_word_in_metrics_and_headers_is_another_one() -> None:
    words = [entry.reason for entry in entries(RecordError) if entry.reason is not None]
    assert len(words) == len(set(words)) > 10


def test_a_page_that_differs_is_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "errors.md"
    page.write_text("old")
    assert main(["--check", "--to", str(page)]) == 1
    assert (page.read_text(), "differs" in capsys.readouterr().out) == ("old", True)
    assert main(["--to", str(page)]) == 0
    assert page.read_text() == error_page()


def test_an_error_without_a_remedy_is_refused() -> None:
    class Unexplained(RecordError):
        """Something is wrong."""

    with pytest.raises(ValueError, match="Unexplained: its docstring needs"):
        entries(Unexplained)
