"""Boards as Grafana's JSON, through Grafana's own generated builders: the only home of ``grafana_foundation_sdk``."""

from __future__ import annotations

import json
from string import ascii_uppercase
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from compose.dashboards.board import Board, Mark, Panel, Query, Variable

__all__ = ["render"]

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_JOBS = Variable("job", "App", "label_values(streamserve_app_info, job)")
_HEIGHT = {"number": 4, "table": 6}
_PLOT_HEIGHT = 8

_Builder: TypeAlias = stat.Panel | table.Panel | timeseries.Panel


def render(board: Board) -> str:
    """Return a dashboard's file: JSON that Grafana's provisioning reads, with sorted keys, so that it diffs well."""
    built = _settings(board)
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Source").type("prometheus"))
    for variable in (_JOBS, *board.variables):
        built.with_variable(_choice(variable))
    for row in board.rows:
        built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built.with_panel(_panel(panel))
    plain: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    plain["annotations"] = {"list": [_annotation(mark) for mark in board.marks]}
    return json.dumps(plain, indent=1, sort_keys=True) + "\n"


def _settings(board: Board) -> dashboard.Dashboard:
    return (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["streamserve"])
        .time(board.span, "now")
        .timezone("utc")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
    )


def _choice(variable: Variable) -> dashboard.QueryVariable | dashboard.TextBoxVariable:
    if not variable.query:
        chosen = VariableOption(text=variable.default, value=variable.default)
        text = dashboard.TextBoxVariable(variable.name).label(variable.label)
        return text.default_value(variable.default).current(chosen).hide(VariableHide.DONT_HIDE)
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_SOURCE)
        .query({"query": variable.query, "refId": variable.name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .hide(VariableHide.DONT_HIDE)
    )
    if variable.default:
        return built.current(VariableOption(text=variable.default, value=variable.default))
    return built.multi(True).include_all(True).all_value(".+").current(VariableOption(text="All", value="$__all"))


def _panel(panel: Panel) -> _Builder:
    built = _shape(panel).title(panel.title).description(panel.help_).datasource(_SOURCE).unit(panel.unit)
    built.span(panel.width).height(_HEIGHT.get(panel.kind, _PLOT_HEIGHT))
    for name, query in zip(ascii_uppercase, panel.queries, strict=False):
        built.with_target(_target(query, name, panel))
    if panel.warn_at is not None:
        built.thresholds(_thresholds(panel.warn_at, low_is_bad=panel.low_is_bad))
    return built


def _shape(panel: Panel) -> _Builder:
    match panel.kind:
        case "number":
            latest = common.ReduceDataOptions().calcs(["lastNotNull"])
            number = stat.Panel().reduce_options(latest).graph_mode(BigValueGraphMode.NONE)
            return number.color_mode(BigValueColorMode.VALUE)
        case "table":
            without_time = {"excludeByName": {"Time": True}}
            return table.Panel().with_transformation(DataTransformerConfig(id_val="organize", options=without_time))
        case "bars":
            return _plot().draw_style(GraphDrawStyle.BARS).fill_opacity(60)
        case "lines":
            return _plot()


def _plot() -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    lines = timeseries.Panel().legend(legend.show_legend(True)).draw_style(GraphDrawStyle.LINE)
    return lines.line_width(1).fill_opacity(8).show_points(VisibilityMode.NEVER).axis_soft_min(0)


def _target(query: Query, name: str, panel: Panel) -> prometheus.Dataquery:
    built = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(name).datasource(_SOURCE)
    if panel.kind == "table":
        return built.instant().format(PromQueryFormat.TABLE)
    return built.instant() if panel.kind == "number" else built.range()


def _thresholds(warn_at: float, *, low_is_bad: bool) -> dashboard.ThresholdsConfig:
    below, above = ("red", "green") if low_is_bad else ("green", "red")
    steps = [Threshold(value=None, color=below), Threshold(value=warn_at, color=above)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _annotation(mark: Mark) -> dict[str, Any]:
    """Return an annotation that stands where its values say; the builders lack that part of Prometheus' plugin."""
    return {
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "expr": mark.expr,
        "iconColor": mark.colour,
        "name": mark.name,
        "titleFormat": mark.title,
        "useValueForTime": True,
    }
