"""etc/prometheus and etc/grafana: what they ask for exists. tests_system has a real Prometheus evaluate it."""

import json
import re
from itertools import combinations
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.web.metrics.device_families import OWN
from cmmd.web.metrics.families import FAMILIES
from cmmd.web.metrics.quantities import columns_of
from tests.support import REPOSITORY

RULES = REPOSITORY / "etc" / "prometheus" / "cmmd.rules.yml"
DASHBOARDS = [REPOSITORY / "etc" / "grafana" / f"{name}.json" for name in ("cmmd-daemon", "cmmd-genset")]

OF_PROMETHEUS = {"up", "scrape_duration_seconds"}
NO_METRICS = {
    *(
        "and",
        "or",
        "unless",
        "on",
        "by",
        "ignoring",
        "without",
        "offset",
        "sum",
        "count",
        "rate",
        "increase",
        "max_over_time",
        "deriv",
    ),
    *(
        "histogram_quantile",
        "min_over_time",
        "time",
        "vector",
        "label_values",
        "le",
        "instance",
        "hostid",
        "name",
        "job",
    ),
    *("role", "severity", "method", "outcome", "reason", "kind", "m", "h"),
}


def known() -> set[str]:
    names = {family.name for family in OWN} | OF_PROMETHEUS
    names |= {column.family for profile in load_catalog() for column in columns_of(profile)}
    for family in FAMILIES:
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        names |= {family.exposed + suffix for suffix in suffixes}
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return names | {sample.name for metric in registry.collect() for sample in metric.samples}


def asked_for(expression: str) -> set[str]:
    """The metrics in an expression: its names without what is in quotes and braces, functions and words."""
    bare = re.sub(r'"[^"]*"|\{[^{}]*\}|\[[^\]]*\]', "", expression)
    return set(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"\b\d[\d.]*[a-z]*|\$\w+", "", bare))) - NO_METRICS


def expressions_of_rules() -> list[str]:
    text = RULES.read_text(encoding="utf-8")
    found = re.findall(r"(?m)^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*))", text)
    return [block or line for block, line in found]


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = dashboard["panels"]
    return panels


class RulesTests(SynchronousTestCase):
    def test_every_metric_exists(self) -> None:
        expressions = expressions_of_rules()
        self.assertEqual(len(expressions), RULES.read_text(encoding="utf-8").count("- alert:"))
        for expression in expressions:
            names = asked_for(expression)
            self.assertNotEqual(names, set(), expression)
            self.assertEqual(names - known(), set(), expression)


class DashboardTests(SynchronousTestCase):
    def test_every_metric_exists(self) -> None:
        for file in DASHBOARDS:
            dashboard = json.loads(file.read_text(encoding="utf-8"))
            queries = [target["expr"] for panel in panels_of(dashboard) for target in panel.get("targets", ())]
            queries += [one["definition"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
            self.assertGreater(len(queries), 20)
            for query in queries:
                names = asked_for(query)
                self.assertNotEqual(names, set(), query)
                self.assertEqual(names - known(), set(), query)

    def test_what_is_shown_can_be_found_again(self) -> None:
        for file in DASHBOARDS:
            dashboard = json.loads(file.read_text(encoding="utf-8"))
            self.assertEqual(dashboard["uid"], file.stem)
            panels = panels_of(dashboard)
            self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
            variables = {f"${one['name']}" for one in dashboard["templating"]["list"]}
            used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(panels))) - {"__rate_interval"}
            self.assertEqual({f"${name}" for name in used} - variables, set())

    def test_panels_do_not_overlap(self) -> None:
        for file in DASHBOARDS:
            places = [panel["gridPos"] for panel in panels_of(json.loads(file.read_text(encoding="utf-8")))]
            for one in places:
                self.assertLessEqual(one["x"] + one["w"], 24)
            for one, other in combinations(places, 2):
                beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
                self.assertTrue(beside or below, (file.name, one, other))


class NameTests(SynchronousTestCase):
    """The check itself finds what it is there for."""

    def test_names_in_an_expression(self) -> None:
        for expression, expected in (
            ('sum by (role) (cmmd_connections{instance=~"$instance"})', {"cmmd_connections"}),
            ("rate(a_total[10m] offset 20m) > 3 * rate(b_total[$__rate_interval]) / 0.5", {"a_total", "b_total"}),
            ('label_values(genset_up{name="$name"}, hostid)', {"genset_up"}),
            ("time() - no_such_metric > 600", {"no_such_metric"}),
        ):
            self.assertEqual(asked_for(expression), expected)
        self.assertNotIn("no_such_metric", known())
