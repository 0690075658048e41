"""The summary as a terminal shows it."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console

from topologies.flights.demo.summary import Summary

__all__ = ["draw_terminal"]

_COLUMNS: Final = 104
_LOADED_FONT: Final = re.compile(r"@font-face \{[^}]*\}\s*")
_FONT: Final = "DejaVu Sans Mono, Menlo, Consolas"


def draw_terminal(file: Path, summary: Summary) -> None:
    """Write what ``Summary.print`` prints as SVG, in a font that the reader has: nothing is loaded from elsewhere."""
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    summary.print(console)
    svg = console.export_svg(title="streamserve demo", unique_id="demo")
    file.write_text(_LOADED_FONT.sub("", svg).replace("Fira Code", _FONT), encoding="utf-8")
