# SPDX-License-Identifier: Apache-2.0
"""Dashboards as Grafana's JSON, by Grafana's own SDK, which knows the schema."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    GridPos,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from names import Names, label
from panels import EVERYWHERE, Dashboard, Panel, Query

TAG = "otel-openstack"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS = 24
HEIGHT, TABLE_HEIGHT = 8, 10
# A host belongs to a region, so a region is chosen by its hosts: only target_info knows it.
VARIABLES = (
    ("region", "Region", "label_values(target_info, cloud_region)", ".*"),
    ("service", "Service", 'label_values(target_info{cloud_region=~"$region"}, job)', ".+"),
    ("host", "Host", 'label_values(target_info{cloud_region=~"$region",job=~"$service"}, host_name)', None),
)


def render(dashboard: Dashboard, names: Names) -> str:
    """Return the dashboard's JSON."""
    built = (
        build.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags([TAG])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("1m")
        .link(build.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True).include_vars(True).keep_time(True))
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )  # fmt: skip
    for name, title, query, every in VARIABLES:
        built.with_variable(_variable(name, title, query, every, several=not (dashboard.one_host and name == "host")))
    _lay_out(built, dashboard, names)
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, title: str, query: str, every: str | None, *, several: bool) -> build.QueryVariable:
    made = (
        build.QueryVariable(name)
        .label(title)
        .query({"query": query, "refId": name})
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    return made.all_value(every) if several and every else made


def _lay_out(built: build.Dashboard, dashboard: Dashboard, names: Names) -> None:
    y = number = 0
    for section in dashboard.sections:
        number += 1
        built.with_row(build.Row(section.title).id(number).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=y)))
        x, y, tallest = 0, y + 1, 0
        for panel in section.panels:
            number += 1
            height = TABLE_HEIGHT if panel.table else HEIGHT
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = GridPos(h=height, w=panel.width, x=x, y=y)
            made = _table(panel, names) if panel.table else _graph(panel, names)
            built.with_panel(made.id(number).grid_pos(place))
            x, tallest = x + panel.width, max(tallest, height)
        y += tallest


def _graph(panel: Panel, names: Names) -> Any:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description(names))
        .datasource(SOURCE)
        .unit(_unit(panel, names))
        .min(0)
        .fill_opacity(30 if panel.stacked else 5)
        .show_points(VisibilityMode.NEVER)
        .legend(common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )  # fmt: skip
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for position, query in enumerate(panel.queries):
        made.with_target(_target(position, query, names).legend_format(query.legend()))
    return made


def _unit(panel: Panel, names: Names) -> str:
    units = {query.unit(names) for query in panel.queries}
    if len(units) != 1:
        raise ValueError(f"{panel.title}: one axis, several units: {sorted(units)}")
    return units.pop()


def _table(panel: Panel, names: Names) -> Any:
    keys = panel.queries[0].by
    if any(set(query.by) != set(keys) or not query.name for query in panel.queries):
        raise ValueError(f"{panel.title}: columns have names and group by the same attributes")
    made = (
        tables.Panel()
        .title(panel.title)
        .description(panel.description(names))
        .datasource(SOURCE)
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(_columns(panel, keys))
        .sort_by([common.TableSortByFieldState().display_name(panel.queries[0].name).desc(True)])
    )
    for position, query in enumerate(panel.queries):
        made.with_target(_target(position, query, names).instant().format(PromQueryFormat.TABLE))
        made.override_by_name(query.name, [DynamicConfigValue(id_val="unit", value=query.unit(names))])
    return made


def _columns(panel: Panel, keys: tuple[str, ...]) -> DataTransformerConfig:
    """Order: the keys, then the values under their names; without the time."""
    values = [_value(panel, position) for position in range(len(panel.queries))]
    order = [*map(label, keys), *values]
    return DataTransformerConfig(
        id_val="organize",
        options={
            "excludeByName": {"Time": True},
            "indexByName": {name: position for position, name in enumerate(order)},
            "renameByName": {value: query.name for value, query in zip(values, panel.queries, strict=True)},
        },
    )


def _value(panel: Panel, position: int) -> str:
    """Return what Grafana calls the value of a query: `Value` alone where there is one, else with its letter."""
    return "Value" if len(panel.queries) == 1 else f"Value #{_letter(position)}"


def _target(position: int, query: Query, names: Names) -> prometheus.Dataquery:
    expression = names.promql(query.expression, EVERYWHERE)
    return prometheus.Dataquery().ref_id(_letter(position)).datasource(SOURCE).expr(expression)


def _letter(position: int) -> str:
    return chr(ord("A") + position)
