"""``streamserve tables`` before it asks a broker; ``tests/integration/test_state_stores.py`` has the rest."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from streamserve.cli import main
from tests.unit.cli.apps import SHOP, module


def test_a_table_that_the_app_does_not_have_is_wrong_usage_and_those_it_has_are_named(tmp_path: Path) -> None:
    with module(tmp_path, "shop_with_tables", SHOP + '\napp.table("seen", int)\n') as name:
        result = CliRunner().invoke(main, ["tables", "show", f"{name}:app", "sene"])
    assert result.exit_code == 2
    assert "tables: seen" in " ".join(result.output.replace("│", "").split())
