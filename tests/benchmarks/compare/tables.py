"""A comparison's report as tables: for a terminal, and in the README between two marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.benchmarks.compare.engines import YARDSTICKS

README = Path(__file__).parents[3] / "README.md"
BEGIN, END = "<!-- comparison -->", "<!-- end of comparison -->"
"""What is between these in the README is written here."""

_WORK = ("engine", "guarantee", "records/s", "to the loop", "to Kafka Streams", "CPU µs", "MiB")


def work_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of texts for each engine: medians, of ratios with their spread over rounds."""
    return [_work_row(engine) for engine in report["engines"].values()]


def rates_of(report: Mapping[str, Any]) -> list[str]:
    """Return the rates at which some engine's latency was measured, from low to high."""
    return sorted({rate for engine in report["engines"].values() for rate in engine["latency_ms"]}, key=int)


def latency_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row of texts for each engine: p50 / p99 / p99.9 at each rate; a dash where it did not keep up."""
    rates = rates_of(report)
    return [
        (engine["title"], *(_quantiles(engine["latency_ms"].get(rate)) for rate in rates))
        for engine in report["engines"].values()
        if rates
    ]


def as_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return the report for people: throughput, and latency where it was measured."""
    title = f"{report['events']:,} events, {report['rounds']} rounds, {report['machine']['cores']} cores, medians"
    tables = [_table(title, _WORK, work_rows(report), caption=_left_out(report))]
    if latency_rows(report):
        tables.append(_table("latency, p50 / p99 / p99.9 in ms", _latency_headings(report), latency_rows(report)))
    return tables


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return both tables, and what they were measured on, as the README has them."""
    parts = [_facts(report), _markdown(_WORK, work_rows(report))]
    if latency_rows(report):
        parts += ["Latency, p50 / p99 / p99.9 in ms:", _markdown(_latency_headings(report), latency_rows(report))]
    if report["left_out"]:
        parts.append(_left_out(report) + ".")
    return "\n\n".join(parts)


def put_into_readme(report: Mapping[str, Any], readme: Path = README) -> None:
    """Write the tables between the README's marks.

    Raises:
        ValueError: it does not have both marks, once each and in order.
    """
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme.name} needs {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n{as_markdown(report)}\n{END}{after}", encoding="utf-8")


def _work_row(engine: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{engine['title']} {engine['version']}" if engine["is_peer"] else engine["title"],
        engine["guarantee"],
        f"{engine['per_second']['median']:,.0f}",
        *(_ratio(engine["ratio_to"].get(other)) for other in YARDSTICKS),
        f"{engine['cpu_us']['median']:.1f}",
        f"{engine['memory_mib']['median']:.0f}",
    )


def _ratio(found: Mapping[str, float] | None) -> str:
    return "" if found is None else f"{found['median']:.2f} ({found['low']:.2f}-{found['high']:.2f})"


def _quantiles(found: Mapping[str, Mapping[str, float]] | None) -> str:
    return "-" if found is None else " / ".join(f"{found[name]['median']:.1f}" for name in ("p50", "p99", "p999"))


def _facts(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"{report['events']:,} events (slow engines fewer, Java more, to warm up), {report['rounds']} rounds; medians, "
        "of ratios within a round with their spread; processor time a record and memory of the engine's processes. "
        f"{machine['cores']} cores with the broker on them ({machine['processor']}), Kafka {machine['kafka']}:"
    )


def _left_out(report: Mapping[str, Any]) -> str:
    return "; ".join(f"left out: {name} ({why})" for name, why in report["left_out"].items())


def _latency_headings(report: Mapping[str, Any]) -> Sequence[str]:
    return ("engine", *(f"{int(rate):,} events/s" for rate in rates_of(report)))


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
    table = Table(title=title, caption=caption)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in _WORK[:2] else "right", overflow="fold")
    for row in rows:
        table.add_row(*(text.replace("`", "") for text in row))
    return table


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
