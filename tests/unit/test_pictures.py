"""The pictures of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import pictures, readme
from tests.benchmarks.report import PROGRAMS

LARGEST = 200_000
SHOWN = [
    (readme.ROOT / document).parent / target
    for document in readme.DOCUMENTS
    for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme.read(document))
]


def test_the_front_page_shows_what_is_made_and_all_that_is_made() -> None:
    assert {file.name for file in SHOWN} == {"terminal.svg", "drift.svg", "quality.svg", "benchmark.svg"}
    assert set(SHOWN) == set(pictures.FOLDER.iterdir())


@pytest.mark.parametrize("file", SHOWN, ids=lambda file: file.name)
def test_pictures_are_small_and_load_nothing_from_elsewhere(file: Path) -> None:
    picture = file.read_text(encoding="utf-8")
    assert len(picture) < LARGEST
    assert not re.search(r"@font-face|@import|url\(['\"]?http|href=\"http", picture)


def test_the_graph_is_what_the_app_is() -> None:
    [shown] = readme.blocks(readme.read("README.md"), "mermaid")
    assert shown.text == pictures.graph()


def test_the_benchmarks_picture_and_the_table_have_the_same_figures() -> None:
    picture = (pictures.FOLDER / "benchmark.svg").read_text(encoding="utf-8")
    drawn = re.findall(r"· ([\d,]+) records/s", picture)
    assert len(drawn) == len(PROGRAMS)
    assert [figure for figure in drawn if f"| {figure} |" not in readme.read("README.md")] == []
