"""What PromQL asks for, taken apart by a parser, and what a worker exports."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import promql_parser as promql
from prometheus_client.parser import text_string_to_metric_families

from streamserve.ops.health import Liveness
from streamserve.ops.metrics import PrometheusObserver
from streamserve.records import Span
from tests.unit.ops.metrics.telling import tell_everything

__all__ = ["exported", "filled", "unknown"]

_VARIABLES = (
    (r"\$__rate_interval|\$__range", "1m"),
    (r"\$core_hour", "0.04"),
    (r"\$(job|model|column|metric)", ".+"),
)
_TARGET = {"job", "instance", "stack"}
"""What Prometheus puts on every series of a target, by ``prometheus.yml``."""
_OWN = {"up": _TARGET, "ALERTS": {"alertname", "alertstate", "severity", *_TARGET}}
"""Series that Prometheus makes itself."""


def filled(query: str) -> str:
    """Return a dashboard's query as Grafana sends it.

    >>> filled('rate(up{job=~"$job"}[$__rate_interval])')
    'rate(up{job=~".+"}[1m])'
    """
    for variable, value in _VARIABLES:
        query = re.sub(variable, value, query)
    return query


def exported() -> Mapping[str, set[str]]:
    """Return the labels of every series on a worker's page, and of those that Prometheus adds."""
    metrics = PrometheusObserver("flights")
    tell_everything(metrics)
    metrics.stalls.standing(Liveness(False, 61, "start", doing=("agent predict",), at=(Span("in", 0, 1, 9),)))
    found: defaultdict[str, set[str]] = defaultdict(set, {name: set(labels) for name, labels in _OWN.items()})
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name] |= {*sample.labels, *_TARGET}
    return dict(found)


def unknown(query: str, known: Mapping[str, set[str]]) -> list[str]:
    """Return the series, and the labels of known ones, that ``query`` asks for and nobody has.

    >>> unknown('sum by (topic) (up{jobb="flights"}) / down', {"up": {"job"}})
    ['up has no label jobb', 'no series down', 'no label topic to group by']
    """
    parsed = promql.parse(query)
    return [*_unknown_series(parsed, known), *_unknown_groups(parsed, known)]


def _unknown_series(parsed: promql.Expr, known: Mapping[str, set[str]]) -> Iterator[str]:
    for selector in _selectors(parsed):
        name = selector.name or ""
        if name not in known:
            yield f"no series {name}"
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in known[name]:
                yield f"{name} has no label {matcher.name}"


def _unknown_groups(parsed: promql.Expr, known: Mapping[str, set[str]]) -> Iterator[str]:
    for part in _parts(parsed):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            there = set[str]().union(*(known.get(each.name or "", set()) for each in _selectors(part.expr)))
            for label in part.modifier.labels:
                if label not in there:
                    yield f"no label {label} to group by"


def _selectors(parsed: promql.Expr) -> Iterator[promql.VectorSelector]:
    return (part for part in _parts(parsed) if isinstance(part, promql.VectorSelector))


def _parts(parsed: promql.Expr) -> list[promql.Expr]:
    parts: list[promql.Expr] = []
    promql.walk(parsed, parts.append)
    return parts
