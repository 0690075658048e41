"""``streamserve new`` spoils nothing; that what it writes is tidy and works is for the tests on Kafka."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamserve.cli import main


@pytest.mark.parametrize("name", ["1st", "with-dash", "Upper", "class", "json", "pytest", "umlaut_ä", "../up"])
def test_a_name_that_no_package_may_have_is_wrong_usage(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["new", name, "--into", str(tmp_path)])
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = CliRunner().invoke(main, ["new", "mine", "--into", str(tmp_path)])
    assert result.exit_code == 2
    assert "nothing was written" in result.stderr
