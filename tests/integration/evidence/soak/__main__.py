"""``python -m tests.integration.evidence.soak --minutes 30 --json``.

A broker and three workers of the app that ``streamserve verify`` uses, with predictions that wait half an hour of event
time for labels. Full speed is measured first; then inputs come at half of it, by the clock. A worker is killed every
minute and started again at once, two in turn; the third is never killed. The exit code is 1 where a judgement fails.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.integration.evidence.soak.picture import draw
from tests.integration.evidence.soak.run import Options, Report, run_soak


def main() -> int:
    """Run the soak; return the exit code."""
    parser = ArgumentParser(prog="python -m tests.integration.evidence.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kill-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--measure", type=int, default=600_000, metavar="INPUTS", help="what full speed is taken from")
    parser.add_argument("--rate", type=float, help="inputs a second, in place of half of full speed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw memory and latency over time, as SVG")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    given = parser.parse_args()
    options = Options(
        minutes=given.minutes,
        workers=given.workers,
        kill_every_s=given.kill_every,
        measured=given.measure,
        rate=given.rate,
        seed=given.seed,
    )
    report = run_soak(options)
    if given.picture is not None:
        draw(report, given.picture)
    print(msgspec.json.encode(report).decode() if given.json else "\n".join(_told(report)))
    wrong = report.lost or report.duplicated or not all(judgement.holds for judgement in report.judgements)
    return 1 if wrong else 0


def _told(report: Report) -> Iterable[str]:
    """Yield the lines of a summary."""
    full = "given" if report.full_speed is None else f"half of {report.full_speed:,.0f}"
    yield f"{report.inputs:,} inputs, {report.rate:,.0f} a second ({full}), {report.kills} kills"
    yield f"{report.lost} lost, {report.duplicated} duplicated"
    yield ""
    rows = [(f"{one.from_s / 60:.1f}", one.answers, one.p50, one.p99, one.longest) for one in report.latencies]
    yield from _table(("from minute", "answers", "p50 ms", "p99 ms", "longest ms"), rows)
    yield ""
    ages = [
        (one.worker, one.part, one.processes, one.age_s, one.resident_mb, one.descriptors, one.threads)
        for one in report.aged
    ]
    yield from _table(("worker", "part", "processes", "at age, s", "resident MB", "descriptors", "threads"), ages)
    for one in report.survivor:
        yield f"never killed, minute {one.at_s / 60:.0f}: {one.resident_mb} MB, {one.descriptors}, {one.threads}"
    yield ""
    for judgement in report.judgements:
        yield f"{'holds' if judgement.holds else 'FAILS'}: {judgement.what}: {judgement.found}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    for row in (heads, *rows):
        yield "  ".join(f"{cell!s:>12}" for cell in row)


if __name__ == "__main__":
    sys.exit(main())
