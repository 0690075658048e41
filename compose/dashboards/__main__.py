"""Write the dashboards' files, or compare them: ``python -m compose.dashboards [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compose.dashboards import BOARDS
from compose.dashboards.render import render

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every dashboard; with ``--check`` return 1 where a file is missing, differs or has no program."""
    parser = argparse.ArgumentParser(prog="python -m compose.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    check: bool = parser.parse_args(arguments).check
    wanted = {FOLDER / f"{board.uid}.json": render(board) for board in BOARDS}
    if not check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    differing += sorted(set(FOLDER.glob("*.json")) - set(wanted))
    for path in differing:
        sys.stdout.write(f"{path.name} is not what the program makes: run python -m compose.dashboards\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
