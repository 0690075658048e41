"""The few shapes of PromQL that the dashboards are made of; all read the workers that ``$job`` chooses."""

from __future__ import annotations

__all__ = ["ever", "or_zero", "quantile", "rate", "select", "share"]

_WINDOW = "$__rate_interval"


def select(metric: str, /, **labels: str) -> str:
    """Return a selector; a value that begins with ``~`` is a regular expression.

    >>> select("streamserve_performance", window="last", labels="~$labels")
    'streamserve_performance{job=~"$job",window="last",labels=~"$labels"}'
    """
    given = {"job": "~$job", **labels}
    return f"{metric}{{{','.join(f'{name}={_matched(value)}' for name, value in given.items())}}}"


def rate(metric: str, /, by: str = "", window: str = _WINDOW, **labels: str) -> str:
    """Return a counter's increase a second, summed by ``by``.

    >>> rate("streamserve_records_polled_total", by="topic")
    'sum by (topic) (rate(streamserve_records_polled_total{job=~"$job"}[$__rate_interval]))'
    """
    return f"sum{_by(by)} (rate({select(metric, **labels)}[{window}]))"


def ever(metric: str, /, window: str, by: str = "", **labels: str) -> str:
    """Return a counter's increase over ``window``, summed by ``by``.

    A counter with labels begins with what it counts first, of which ``increase`` sees nothing: one that was not there
    before the window has all it shows from within it.

    >>> ever("up", "1d")
    'sum ((up{job=~"$job"} unless up{job=~"$job"} offset 1d) or increase(up{job=~"$job"}[1d]))'
    """
    counter = select(metric, **labels)
    return f"sum{_by(by)} (({counter} unless {counter} offset {window}) or increase({counter}[{window}]))"


def quantile(q: float, histogram: str, /, by: str = "", **labels: str) -> str:
    """Return a quantile of a histogram over all workers.

    >>> quantile(0.99, "streamserve_commit_seconds")
    'histogram_quantile(0.99, sum by (le) (rate(streamserve_commit_seconds_bucket{job=~"$job"}[$__rate_interval])))'
    """
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', ', '.join(filter(None, ['le', by])), **labels)})"


def share(part: str, whole: str) -> str:
    """Return ``part`` of ``whole``; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def or_zero(expr: str) -> str:
    """Let a counter that nothing has counted yet show as zero, to be told apart from a worker that is silent."""
    return f"{expr} or vector(0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def _matched(value: str) -> str:
    return f'~"{value[1:]}"' if value.startswith("~") else f'"{value}"'
