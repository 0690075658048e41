"""What ``dead-letters``, ``offsets`` and ``transactions`` refuse before they ask Kafka."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streamserve.cli import main


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dead-letters", "replay"], "--all"),
        (["dead-letters", "replay", "seventeen"], "PARTITION@OFFSET"),
        (["dead-letters", "show", "17"], "PARTITION@OFFSET"),
        (["dead-letters", "list", "--since", "soon"], "--since"),
        (["dead-letters", "replay", "--all", "--edit", "--set", "a=1"], "--set"),
        (["offsets", "reset", "--to", "soon"], "--to"),
        (["offsets", "reset", "--to", "-3"], "--to"),
        (["offsets", "reset", "--to", "latest", "--empty-state", "--partition", "1"], "--empty-state"),
        (["offsets", "reset"], "--to"),
        (["transactions", "abort"], "--id"),
        (["transactions", "abort", "--topic", "clicks"], "--partition"),
        (["transactions", "abort", "--id", "shop.a.0", "--topic", "clicks", "--partition", "0"], "--id"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_right(shop: str, words: list[str], text: str) -> None:
    group, command, *options = words
    result = CliRunner().invoke(
        main, [group, command, shop, *options, "--brokers", "127.0.0.1:1"], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 2, result.output
    assert text in result.stderr
