# SPDX-License-Identifier: Apache-2.0
"""What a dashboard is made of: queries in the registry's names, panels with their queries, sections with their panels.

Units, descriptions and legends come from the registry and from what a query groups by, so a panel is one line.
"""

from __future__ import annotations

from typing import NamedTuple

from names import Metric, Names, label

INTERVAL = "$__rate_interval"
RANGE = "$__range"
EVERYWHERE = 'job=~"$service",host_name=~"$host"'

RATE, VALUE, SHARE = "rate", "value", "share"
# Grafana's units of a rate by the unit of what is counted; a rate of seconds is a share of the time.
PER_SECOND = {
    "s": "percentunit", "By": "Bps", "{request}": "reqps", "{message}": "mps", "{connection}": "cps",
    "{error}": "eps", "{timeout}": "eps", "{failure}": "eps", "{retry}": "eps", "{deadlock}": "eps",
}  # fmt: skip
VALUES = {"s": "s", "By": "bytes"}


class Query(NamedTuple):
    """PromQL in the registry's names, the attributes that tell its series apart, and what its value is."""

    expression: str
    by: tuple[str, ...] = ()
    shape: str = VALUE
    name: str = ""

    def called(self, name: str) -> Query:
        """Return the query with a name: before the legend, above a table's column."""
        return self._replace(name=name)

    def legend(self) -> str:
        return " ".join([*filter(None, [self.name]), *(f"{{{{{label(key)}}}}}" for key in self.by)])

    def unit(self, names: Names) -> str:
        if self.shape == SHARE:
            return "percentunit"
        metric = names.metrics(self.expression)[0]
        if self.shape == VALUE:
            return VALUES.get(metric.unit, "short")
        if ":count" in self.expression:
            return "reqps" if metric.name.startswith("http.") else "ops"
        return PER_SECOND.get(metric.unit, "cps")


def rate(series: str, *by: str) -> Query:
    """Per second: of a counter, or of a histogram's `:count`; `series` may carry matchers in braces."""
    return Query(f"sum{grouped(by)} (rate(<{series}>[{INTERVAL}]))", by, RATE)


def quantile(share: float, histogram: str, *by: str) -> Query:
    """Estimate a quantile of a histogram; `histogram` may carry matchers."""
    name, brace, matchers = histogram.partition("{")
    series = f"{name}:bucket{brace}{matchers}"
    expression = f"histogram_quantile({share}, sum{grouped(('le', *by))} (rate(<{series}>[{INTERVAL}])))"
    return Query(expression, by, VALUE, f"p{share * 100:g}")


def quantiles(histogram: str, *by: str) -> tuple[Query, ...]:
    return tuple(quantile(share, histogram, *by) for share in (0.5, 0.95, 0.99))


def mean(histogram: str, *by: str) -> Query:
    name, brace, matchers = histogram.partition("{")
    summed, counted = (
        f"sum{grouped(by)} (rate(<{name}:{part}{brace}{matchers}>[{INTERVAL}]))" for part in ("sum", "count")
    )
    return Query(f"{summed} / {counted}", by)


def busy(histogram: str, *by: str) -> Query:
    """Seconds spent a second: how many are at it on average."""
    name, brace, matchers = histogram.partition("{")
    return Query(f"sum{grouped(by)} (rate(<{name}:sum{brace}{matchers}>[{INTERVAL}]))", by, SHARE)


def share(some: str, every: str, *by: str) -> Query:
    """Share of some in all, by rate; zero where there are none of them."""
    rates = [f"sum{grouped(by)} (rate(<{series}>[{INTERVAL}]))" for series in (some, every)]
    return Query(f"({rates[0]} or 0 * {rates[1]}) / {rates[1]}", by, SHARE)


def state(series: str, *by: str) -> Query:
    """Sum of a state over processes."""
    return Query(f"sum{grouped(by)} (<{series}>)", by)


def utilisation(used: str, limit: str, *by: str) -> Query:
    """The fullest of the processes: its used in its limit."""
    each = grouped(("job", "host.name", "instance", *(name for name in by if name not in {"job", "host.name"})))
    return Query(f"max{grouped(by)} (sum{each} (<{used}>) / sum{each} (<{limit}>))", by, SHARE)


def grouped(by: tuple[str, ...]) -> str:
    return f" by ({', '.join(by)})" if by else ""


class Panel(NamedTuple):
    """A panel; `why` says what to look for, the registry says what the metrics are."""

    title: str
    queries: tuple[Query, ...]
    why: str = ""
    width: int = 8
    table: bool = False
    stacked: bool = False

    def description(self, names: Names) -> str:
        metrics = {metric.name: metric for query in self.queries for metric in names.metrics(query.expression)}
        briefs = [f"{metric.brief} (`{name}`{_level(metric)})" for name, metric in metrics.items()]
        return "\n\n".join([*filter(None, [self.why]), *briefs])


def _level(metric: Metric) -> str:
    return "" if metric.level == "basic" else f", from level {metric.level} on"


def panel(title: str, *queries: Query, why: str = "", width: int = 8, stacked: bool = False) -> Panel:
    return Panel(title, queries, why, width, stacked=stacked)


def table(title: str, *columns: Query, why: str = "", width: int = 24) -> Panel:
    """A table of the whole range that is shown: a row for each set of the attributes that all columns group by."""
    over_range = tuple(column._replace(expression=column.expression.replace(INTERVAL, RANGE)) for column in columns)
    return Panel(title, over_range, why, width, table=True)


class Section(NamedTuple):
    title: str
    panels: tuple[Panel, ...]


class Dashboard(NamedTuple):
    """`one_host`: the variable `host` takes one host, not several."""

    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]
    one_host: bool = False

    def panels(self) -> list[Panel]:
        return [panel for section in self.sections for panel in section.panels]


def section(title: str, *panels: Panel) -> Section:
    return Section(title, panels)
