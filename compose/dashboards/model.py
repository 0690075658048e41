"""For the model's owner: what goes in, what comes out, how it shifts, how good it is, which version answers."""

from __future__ import annotations

from compose.dashboards.board import Board, Panel, Query, Row, Variable
from compose.dashboards.on_call import RELEASED
from compose.dashboards.promql import ever, or_zero, quantile, rate, select, share

__all__ = ["BOARD", "PREDICTION_COLUMNS"]

PREDICTION_COLUMNS = "probability|value|label"
"""The columns that a monitor keeps of predictions, as a regular expression; all others are inputs."""

_MODEL = "~$model"
_JUDGED = "~$model|"
"""Predictions that do not tell their model are judged under no name."""
_FEATURE = "~$column"
_OUTPUT = f"~{PREDICTION_COLUMNS}"


def _figure(statistic: str, column: str) -> str:
    """Return a statistic of the last closed window, of all rows, one series per partition."""
    return select("streamserve_drift_statistic", model=_MODEL, column=column, slice="", statistic=statistic)


def _mean(column: str) -> str:
    """Return the mean over all partitions, each weighted by its rows."""
    counts = f"({_figure('count', column)} > 0)"
    weighted = f"{_figure('mean', column)} * ignoring (statistic) {counts}"
    return f"sum by (model, column) ({weighted}) / sum by (model, column) {counts}"


def _deviation(column: str) -> str:
    """Return the root of the variance within partitions, weighted alike."""
    counts = f"({_figure('count', column)} > 0)"
    weighted = f"{_figure('variance', column)} * ignoring (statistic) {counts}"
    return f"sqrt(sum by (model, column) ({weighted}) / sum by (model, column) {counts})"


def _live(window: str, by: str, **labels: str) -> str:
    """Return metrics of judged predictions, the mean of the partitions."""
    return f"avg by ({by}) ({select('streamserve_performance', model=_JUDGED, window=window, **labels)})"


_PREDICTIONS = Row(
    "Predictions",
    [
        Panel(
            title="Rows scored",
            unit="rowsps",
            queries=[Query(rate("streamserve_model_rows_total", by="model", model=_MODEL), "{{model}}")],
            help_="By the model's own count: rows of aborted transactions are scored, and counted, again.",
        ),
        Panel(
            title="Prediction: mean",
            unit="none",
            queries=[
                Query(_mean(_OUTPUT), "{{column}}"),
                Query(f"min by (column) ({_figure('minimum', _OUTPUT)})", "{{column}} least"),
                Query(f"max by (column) ({_figure('maximum', _OUTPUT)})", "{{column}} greatest"),
            ],
            help_="Of the last closed window of event time, all partitions.",
        ),
        Panel(
            title="Prediction: spread",
            unit="none",
            queries=[Query(_deviation(_OUTPUT), "{{column}}")],
            help_="Standard deviation within partitions. At zero the model says the same of everything.",
        ),
    ],
)

_FEATURES = Row(
    "Features",
    [
        Panel(
            title="Means",
            unit="none",
            queries=[Query(_mean(_FEATURE), "{{column}}")],
            help_="Of the last closed window, all partitions; choose columns above.",
        ),
        Panel(
            title="Missing values",
            unit="percentunit",
            queries=[
                Query(
                    share(
                        f"sum by (column) ({_figure('nulls', _FEATURE)})",
                        f"sum by (column) ({_figure('nulls', _FEATURE)})"
                        f" + sum by (column) ({_figure('count', _FEATURE)})",
                    ),
                    "{{column}}",
                )
            ],
            help_="A step up is a broken source upstream, or feature values that grew older than their view allows.",
        ),
        Panel(
            title="Age of feature values",
            unit="s",
            queries=[
                Query(
                    quantile(q, "streamserve_feature_age_seconds", by="service"), f"{{{{service}}}} p{round(q * 100)}"
                )
                for q in (0.5, 0.9)
            ],
            help_="At their event, of a sample. A week stands for all beyond.",
        ),
        Panel(
            title="Look-ups",
            unit="rowsps",
            queries=[
                Query(rate("streamserve_feature_rows_total", by="service"), "{{service}}"),
                Query(rate("streamserve_feature_rows_pushed_total", by="source"), "pushed by {{source}}"),
                Query(
                    or_zero(rate("streamserve_feature_rows_stale_total", by="source")), "pushed too late by {{source}}"
                ),
            ],
            help_="Rows asked for, and rows that streams pushed to the online store.",
        ),
        Panel(
            title="Answered by the cache",
            unit="cps",
            queries=[Query(rate("streamserve_feature_cache_hits_total", by="service"), "{{service}}")],
            help_="Reads of views, so up to as many as views for each row.",
        ),
        Panel(
            title="Look-up of a batch, p99",
            unit="s",
            queries=[Query(quantile(0.99, "streamserve_feature_read_seconds", by="service"), "{{service}}")],
            help_="Runbook: FeatureReadsSlow.",
        ),
    ],
)

_DRIFT = Row(
    "Drift",
    [
        Panel(
            title="Shift from the baseline: predictions",
            unit="none",
            queries=[Query(f"avg by (column) ({_figure('psi', _OUTPUT)})", "{{column}}")],
            help_="Population stability index, mean of the partitions: over 0.25 counts as a shift."
            " A window of a day holds a season as well.",
            warn_at=0.25,
        ),
        Panel(
            title="Shift from the baseline: features",
            unit="none",
            queries=[Query(f"avg by (column) ({_figure('psi', _FEATURE)})", "{{column}}")],
            help_="Population stability index by column, mean of the partitions.",
            warn_at=0.25,
        ),
        Panel(
            title="Alarms in an hour",
            unit="none",
            kind="bars",
            queries=[
                Query(
                    or_zero(ever("streamserve_drift_alarms_total", "1h", by="column, detector", model=_MODEL)),
                    "{{column}} {{detector}}",
                )
            ],
            help_="What the detectors signalled, of committed transactions.",
        ),
        Panel(
            title="Last alarms",
            unit="dateTimeAsIso",
            kind="table",
            width=24,
            queries=[
                Query(
                    f"max by (model, column, detector)"
                    f" ({select('streamserve_drift_last_alarm_timestamp_seconds', model=_MODEL)}) * 1000",
                    "{{model}} {{column}} {{detector}}",
                )
            ],
            help_="The event time at which each detector last signalled a change.",
        ),
    ],
)

_ALL = {"version": "", "slice": ""}
_LIVE = Row(
    "Live performance",
    [
        Panel(
            title="Last closed window",
            unit="none",
            queries=[Query(_live("last", "labels, metric", **_ALL), "{{metric}}")],
            help_="Predictions held against their labels, mean of the partitions. Empty until a window closes.",
        ),
        Panel(
            title="By version",
            unit="none",
            queries=[Query(_live("all", "metric, version", version="~.+", slice=""), "{{metric}} of {{version}}")],
            help_="Of all time, each version by itself.",
        ),
        Panel(
            title="Labels",
            unit="cps",
            queries=[Query(rate("streamserve_labels_total", by="labels, status"), "{{labels}} {{status}}")],
            help_="What became of predictions and labels. Many unlabelled: runbook, LabelsMissing.",
        ),
    ],
)

_ROLLOUT = Row(
    "Rollout",
    [
        Panel(
            title="Workers by version",
            unit="none",
            queries=[
                Query(
                    f"count by (model, version) ({select('streamserve_model_info', model=_MODEL)})",
                    "{{model}} {{version}}",
                )
            ],
            help_="Both answer while workers are restarted with a new one; deploys are marked in purple.",
        ),
        Panel(
            title="Deployed",
            unit="dateTimeFromNow",
            kind="table",
            queries=[
                Query(
                    f"max by (model) ({select('streamserve_model_loaded_timestamp_seconds', model=_MODEL)}) * 1000",
                    "{{model}}",
                )
            ],
            help_="When a worker last loaded a version: a start counts too.",
        ),
        Panel(
            title="Time of a run, p99",
            unit="s",
            queries=[Query(quantile(0.99, "streamserve_model_run_seconds", by="model", model=_MODEL), "{{model}}")],
            help_="Of a whole batch.",
        ),
    ],
)

BOARD = Board(
    uid="model",
    title="streamserve: model",
    description="What goes in, what comes out, how it shifts, how good it is, which version answers.",
    span="now-24h",
    rows=[_PREDICTIONS, _LIVE, _DRIFT, _FEATURES, _ROLLOUT],
    variables=[
        Variable("model", "Model", f"label_values({select('streamserve_model_info')}, model)"),
        Variable("column", "Feature", f"label_values({select('streamserve_drift_statistic', model=_MODEL)}, column)"),
    ],
    marks=[RELEASED],
)
