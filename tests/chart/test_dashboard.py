"""The Grafana dashboard: every question has an answer in what the operator writes."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.promql import declared_metrics, metrics_in, promtool
from chart.rendering import OPERATOR_CHART, Helm

DASHBOARD: dict[str, Any] = json.loads((OPERATOR_CHART / "files" / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
FOREIGN = {"process_resident_memory_bytes"}
VARIABLES = {"$namespace": "shop", "$tier": "1", "$__rate_interval": "5m"}


def queries() -> Iterator[tuple[str, str]]:
    """Every expression, with the panel's title."""
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


QUERIES = list(queries())


def test_every_metric_of_the_dashboard_is_one_that_the_operator_writes() -> None:
    known = declared_metrics().keys() | FOREIGN
    for title, expression in QUERIES:
        used = metrics_in(expression)
        assert used, f"the test finds no metric in {title}"
        assert used <= known, title


def test_every_label_that_is_shown_or_grouped_by_exists() -> None:
    labels = set(itertools.chain.from_iterable(declared_metrics().values())) | {"job", "instance"}
    for title, expression in QUERIES:
        for group in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", expression):
            assert {name.strip() for name in group.split(",") if name.strip()} <= labels, title
    for panel in PANELS:
        for target in panel.get("targets", []):
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = []
    for number, (_, expression) in enumerate(QUERIES):
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(QUERIES)} rules found" in promtool("check", "rules", file)


def test_a_database_without_any_backup_is_listed(tmp_path: Path) -> None:
    """The list of what cannot be recovered starts from the inventory, like the alert."""
    (panel,) = (one for one in PANELS if one["title"] == "Databases that cannot be recovered as agreed")
    (expression,) = (one["expr"] for one in panel["targets"] if one["refId"] == "C")
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    labels = 'namespace="shop", database="{}"'
    info = "databosun_database_info{{" + labels + ', engine="PostgreSQL", version="16.4", tier="1"}}'
    point = "databosun_database_recovery_point_timestamp_seconds{{" + labels + "}}"
    series = [{"series": info.format(name), "values": "1x30"} for name in ("none", "old", "good")]
    for name, when in (("old", "1x30"), ("good", "1+60x30")):
        series += [
            {"series": "databosun_database_protected{" + labels.format(name) + "}", "values": "1x30"},
            {"series": "databosun_database_rpo_objective_seconds{" + labels.format(name) + "}", "values": "300x30"},
            {"series": point.format(name), "values": when},
        ]
    shown = [
        {"labels": f'{{database="{name}", engine="PostgreSQL", namespace="shop", tier="1"}}', "value": 1}
        for name in ("none", "old")
    ]
    check = {"expr": expression, "eval_time": "20m", "exp_samples": shown}
    file = tmp_path / "case.yaml"
    file.write_text(
        yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [check]}]})
    )
    assert "SUCCESS" in promtool("test", "rules", file)


@pytest.mark.parametrize(
    "title",
    [
        "Databases that cannot be recovered as agreed",
        "Live RPO of every database",
        "Last success, next one, failures",
        "Why runs failed",
        "Storages",
        "Objects that wait for a person",
        "Operator acts",
    ],
)
def test_the_question_of_who_is_on_call_has_a_panel(title: str) -> None:
    assert title in [panel["title"] for panel in PANELS]


def test_panels_neither_overlap_nor_leave_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_every_panel_asks_the_data_source_that_is_chosen() -> None:
    for panel in PANELS:
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_the_chart_hands_it_to_grafana_unchanged(helm: Helm) -> None:
    rendered = helm.render(dashboard={"enabled": True, "namespace": "monitoring", "annotations": {"folder": "Data"}})
    made = rendered.one("ConfigMap", namespace="monitoring")
    assert json.loads(made["data"]["databosun.json"]) == DASHBOARD
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"folder": "Data"}
