"""For who pays: was it there, how much did it do, how well, at what cost."""

from __future__ import annotations

from compose.dashboards.board import Board, Panel, Query, Row, Variable
from compose.dashboards.promql import ever, or_zero, quantile, rate, select, share

__all__ = ["BOARD"]

_ROWS = "streamserve_model_rows_total"


def _availability(window: str) -> str:
    """Return the share of minutes in which a worker was ready, of all since the first in which one was scraped.

    Minutes without any sample count as lost: workers that are gone are not in Prometheus' discovery either.
    """
    ready = f"(max by (job) ({select('streamserve_ready')}))[{window}:1m]"
    first = f"min_over_time(timestamp(max by (job) ({select('up')}))[{window}:1m])"
    return f"avg (sum_over_time({ready}) / (floor((time() - {first}) / 60) + 1))"


def _cost_per_thousand(window: str) -> str:
    """Return core-hours at their price over thousands of predictions."""
    core_hours = f"{rate('process_cpu_seconds_total', window=window)} / 3600"
    return share(f"1000 * $core_hour * {core_hours}", rate(_ROWS, window=window))


def _quality() -> str:
    figures = select("streamserve_performance", window="last", version="", slice="", metric="~$metric")
    return f"avg by (model, metric) ({figures})"


_THIS = Row(
    "Last 24 hours",
    [
        Panel(
            title="Availability",
            unit="percentunit",
            kind="number",
            width=6,
            queries=[Query(_availability("1d"))],
            help_="Share of minutes with a worker that was ready. What Prometheus missed counts as lost, a pause too.",
            warn_at=0.999,
            low_is_bad=True,
        ),
        Panel(
            title="Predictions",
            unit="short",
            kind="number",
            width=6,
            queries=[Query(ever(_ROWS, "1d"))],
            help_="Rows scored; what an aborted transaction did counts again.",
        ),
        Panel(
            title="Live quality",
            unit="none",
            kind="number",
            width=6,
            queries=[Query(_quality(), "{{model}} {{metric}}")],
            help_="Of the last closed window of predictions with labels. For ROCAUC 0.5 is guessing, 1 is perfect.",
        ),
        Panel(
            title="Cost of a thousand predictions",
            unit="currencyUSD",
            kind="number",
            width=6,
            queries=[Query(_cost_per_thousand("1d"))],
            help_="The workers' processor time at the price of a core-hour above; brokers and stores not included.",
        ),
    ],
)

_DAYS = Row(
    "Day by day",
    [
        Panel(
            title="Availability, a day each",
            unit="percentunit",
            width=12,
            queries=[Query(_availability("1d"), "availability")],
            help_="Over the 24 hours before each moment.",
        ),
        Panel(
            title="Predictions a day",
            unit="short",
            width=12,
            queries=[Query(ever(_ROWS, "1d", by="model"), "{{model}}")],
            help_="Over the 24 hours before each moment.",
        ),
        Panel(
            title="Live quality over time",
            unit="none",
            width=12,
            queries=[Query(_quality(), "{{model}} {{metric}}")],
            help_="Of the window closed last.",
        ),
        Panel(
            title="Cost over time",
            unit="currencyUSD",
            width=12,
            queries=[Query(_cost_per_thousand("1d"), "a thousand predictions")],
            help_="Over the 24 hours before each moment.",
        ),
        Panel(
            title="Answered within",
            unit="s",
            width=12,
            queries=[Query(quantile(0.99, "streamserve_event_to_commit_seconds"), "99 of 100 predictions")],
            help_="From the event to the prediction that others can read.",
        ),
        Panel(
            title="Records set aside",
            unit="percentunit",
            width=12,
            queries=[
                Query(
                    or_zero(
                        share(
                            ever("streamserve_dead_letters_total", "1d"), ever("streamserve_records_polled_total", "1d")
                        )
                    ),
                    "dead letters",
                )
            ],
            help_="Share of records that became dead letters.",
        ),
    ],
)

BOARD = Board(
    uid="executive",
    title="streamserve: business",
    description="Was it there, how much did it do, how well, at what cost.",
    span="now-7d",
    rows=[_THIS, _DAYS],
    variables=[
        Variable("metric", "Quality", "label_values(streamserve_performance, metric)", default="ROCAUC"),
        Variable("core_hour", "Price of a core-hour, USD", default="0.04"),
    ],
)
