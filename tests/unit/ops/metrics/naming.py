"""What ``promtool check metrics`` says about names, for machines that have no promtool.

The rules are those of promlint, the package behind that command, which puts Prometheus' page "Metric and label naming"
into code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

_REFUSED_UNIT = re.compile(
    r"""(^|_)(
        (pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mebi|giga|gibi|tera|tebi|peta|pebi)
        (amperes|bytes|celsius|grams|joules|kelvin|meters|metres|moles|seconds|volts|bits|calories)
        | minutes|hours|days|weeks | kelvins|fahrenheit|rankine | inches|yards|miles | bits|calories|pounds|ounces
    )(_|$)""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile("_(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d)$")
_TYPES = {"counter", "gauge", "histogram", "summary"}


def problems_of(page: str) -> list[str]:
    """Return what promlint has against a page in Prometheus' text format, one line for each metric and rule."""
    described = dict(re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE))
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    labels = _labels_of(page)
    found = [f"{name}: no help text" for name in types if name not in described]
    for name, kind in types.items():
        found += [f"{name}: {problem}" for problem in _problems(name, kind, labels.get(name, ()))]
    return [*found, *_twice(page)]


def _labels_of(page: str) -> Mapping[str, Sequence[str]]:
    """Return the names of the labels of each metric, by the name in its ``TYPE`` line."""
    found: dict[str, Sequence[str]] = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = sorted({label for sample in family.samples for label in sample.labels})
    return found


def _problems(name: str, kind: str, labels: Sequence[str]) -> Iterator[str]:
    parts = name.split("_")
    if refused := _REFUSED_UNIT.search(name):
        yield f"{refused[2]} instead of the base unit"
    if _ABBREVIATION.search(name):
        yield "an abbreviated unit"
    if (kind == "counter") != name.endswith("_total"):
        yield f"_total is for counters, and this is a {kind}"
    if kind not in {"histogram", "summary"} and parts[-1] in {"bucket", "count", "sum"}:
        yield f"_{parts[-1]} is for histograms and summaries"
    if (kind != "histogram" and "le" in labels) or (kind != "summary" and "quantile" in labels):
        yield "le and quantile are labels of histograms and summaries"
    if _TYPES.intersection(parts):
        yield "the name tells the type"
    if ":" in name:
        yield "colons are for recording rules"
    if re.search("[a-z][A-Z]", " ".join((name, *labels))):
        yield "camelCase"


def _twice(page: str) -> Iterator[str]:
    """Yield the series that stand on the page more than once."""
    series = Counter(line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#"))
    return (f"{name}: given {count} times" for name, count in series.items() if count > 1)
