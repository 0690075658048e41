"""All pictures of the README, made anew: ``python -m tests.pictures``, which takes some ten minutes.

The demo replays the year and draws drift, quality and its summary; the benchmark draws itself, or a report of it that
was kept; the graph is what ``streamserve graph`` says.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from streamserve.dataflow.render import as_mermaid
from tests import readme

FOLDER = readme.ROOT / "topologies" / "flights" / "pictures"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make them; stop at the first command that fails, with its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--benchmark", type=Path, metavar="FILE", help="draw this report of 'streamserve bench --json'")
    parser.add_argument("--no-demo", action="store_true", help="leave the demo's pictures as they are")
    chosen = parser.parse_args(arguments)
    put_graph()
    if not chosen.no_demo:
        _run("streamserve", "demo", "--plots", str(FOLDER))
    picture = str(FOLDER / "benchmark.svg")
    if chosen.benchmark is None:
        _run("streamserve", "bench", "--plot", picture)
    else:
        _run("tests.benchmarks", "plot", str(chosen.benchmark.absolute()), picture)


def graph() -> str:
    """Return the graph of the flights app as the README has it."""
    from topologies.flights.app import app

    return as_mermaid(app.plan()) + "\n"


def put_graph() -> None:
    """Put the graph into the README where it has one."""
    file = readme.ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    [shown] = readme.blocks(text, "mermaid")
    file.write_text(text.replace(shown.text, graph()), encoding="utf-8")


def _run(module: str, *arguments: str) -> None:
    code = subprocess.run([sys.executable, "-m", module, *arguments], cwd=readme.ROOT, check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
