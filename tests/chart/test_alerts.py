"""Alerts: each fires when it must, is silent when it must, and has a runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.promql import declared_metrics, metrics_in, promtool
from chart.rendering import OPERATOR_CHART, ROOT, Helm, Rendered
from databosun.api.v1alpha1.reasons import Reason

RULES = OPERATOR_CHART / "files" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts")
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
NAMES = sorted({alert["alert"] for alert in ALERTS})
EVERY_ALERT = pytest.mark.parametrize("name", NAMES)

# What Prometheus and its client library bring themselves.
FOREIGN = {"process_start_time_seconds"}
SECTIONS = ["## What it means", "## Check", "## What to do", "## When it is over"]


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


@EVERY_ALERT
def test_the_alert_fires_and_is_silent_as_promised(name: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES / f"{name}.yaml")


@EVERY_ALERT
def test_the_alerts_cases_cover_both_and_every_severity(name: str) -> None:
    cases = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    expected = [check["exp_alerts"] for test in cases["tests"] for check in test["alert_rule_test"]]
    assert {check["alertname"] for test in cases["tests"] for check in test["alert_rule_test"]} == {name}
    assert [] in expected, "no case in which it is silent"
    severities = {alert["exp_labels"]["severity"] for fired in expected for alert in fired}
    assert severities == {alert["labels"]["severity"] for alert in ALERTS if alert["alert"] == name}


def test_no_cases_are_left_of_an_alert_that_is_gone() -> None:
    assert sorted(path.stem for path in CASES.glob("*.yaml")) == NAMES


@EVERY_ALERT
def test_the_alert_says_who_is_woken_and_why(name: str) -> None:
    for alert in ALERTS:
        if alert["alert"] == name:
            assert alert["labels"].keys() == {"severity"}
            assert alert["labels"]["severity"] in ("critical", "warning")
            assert alert["annotations"].keys() == {"summary", "description"}


@EVERY_ALERT
def test_the_alert_has_a_runbook_for_the_night(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    check, do, over = (text.partition(title)[2].partition("\n## ")[0] for title in SECTIONS[1:])
    assert "kubectl" in check, "no command to check with"
    assert "kubectl" in do or "](" in do, "neither a command nor where to go on"
    assert "kubectl" in over or "promql" in over, "nothing says how to see that it is over"


@EVERY_ALERT
def test_the_runbook_explains_reasons_that_exist(name: str) -> None:
    reasons = re.findall(r"^\| `(\w+)` \|", (RUNBOOKS / f"{name}.md").read_text(), re.MULTILINE)
    assert set(reasons) <= {str(reason) for reason in Reason}


def test_every_runbook_belongs_to_an_alert() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.name != "README.md") == NAMES


def test_the_list_of_runbooks_names_every_alert() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    assert sorted(re.findall(r"\]\((Databosun\w+)\.md\)", index)) == NAMES


@EVERY_ALERT
def test_the_alert_reads_only_metrics_that_the_operator_writes(name: str) -> None:
    known = declared_metrics()
    for alert in ALERTS:
        if alert["alert"] == name:
            used = metrics_in(alert["expr"])
            assert used, "the test finds no metric in the expression"
            assert used <= known.keys() | FOREIGN


def test_alerts_on_databases_start_from_the_inventory() -> None:
    """A database without any other series must fire: its info series is the only one that is always there."""
    unprotected = [alert["expr"] for alert in ALERTS if alert["alert"] == "DatabosunDatabaseUnprotected"]
    assert len(unprotected) == 2
    for expression in unprotected:
        assert re.match(r"max by \([\w, ]+\) \(databosun_database_info\{", expression)


def test_every_tier_falls_into_exactly_one_severity() -> None:
    for name in ("DatabosunDatabaseUnprotected", "DatabosunRecoveryPointTooOld"):
        matchers = {
            alert["labels"]["severity"]: re.findall(r'tier[=!]~"[^"]+"', alert["expr"])
            for alert in ALERTS
            if alert["alert"] == name
        }
        assert matchers == {"critical": ['tier=~"1|2"'], "warning": ['tier!~"1|2"']}


@pytest.fixture(scope="module")
def ruled(helm: Helm) -> Rendered:
    """The chart with alerts, some of them not wanted."""
    return helm.render(
        prometheusRule={
            "enabled": True,
            "namespace": "monitoring",
            "labels": {"release": "prom"},
            "alertLabels": {"team": "data", "severity": "page"},
            "runbookBaseUrl": "https://runbooks.example.org/databosun/",
            "disabled": ["DatabosunMissedSlots"],
        }
    )


def test_the_chart_wraps_the_same_rules(helm: Helm) -> None:
    made = helm.render(prometheusRule={"enabled": True}).one("PrometheusRule")["spec"]["groups"]
    for group in made:
        for rule in group["rules"]:
            url = rule["annotations"].pop("runbook_url")
            assert url.endswith(f"/docs/runbooks/{rule['alert']}.md")
            assert "v0.1.0" in url
    assert made == GROUPS


@pytest.mark.parametrize("monitor", ["serviceMonitor", "podMonitor"])
def test_another_installation_does_not_hide_that_this_one_is_down(helm: Helm, monitor: str, tmp_path: Path) -> None:
    """Where our own monitor says from which namespace a series comes."""
    values: dict[str, Any] = {"prometheusRule": {"enabled": True}, monitor: {"enabled": True}}
    groups = helm.render(release_namespace="team-a", **values).one("PrometheusRule")["spec"]["groups"]
    (alert,) = (rule for group in groups for rule in group["rules"] if rule["alert"] == "DatabosunOperatorDown")
    assert alert["expr"] == 'absent(databosun_leader{namespace="team-a"} == 1)'
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    other = {"series": 'databosun_leader{namespace="team-b"}', "values": "1x30"}
    query = {"expr": 'count(ALERTS{alertname="DatabosunOperatorDown", alertstate="firing"})', "eval_time": "10m"}
    fires = query | {"exp_samples": [{"labels": "{}", "value": 1}]}
    case = {"interval": "1m", "input_series": [other], "promql_expr_test": [fires]}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [case]}))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "case.yaml")


def test_alerts_are_labelled_linked_and_left_out_as_asked(ruled: Rendered) -> None:
    rule = ruled.one("PrometheusRule", namespace="monitoring")
    assert rule["metadata"]["labels"]["release"] == "prom"
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    assert sorted({alert["alert"] for alert in alerts}) == [name for name in NAMES if name != "DatabosunMissedSlots"]
    for alert in alerts:
        assert alert["labels"]["team"] == "data"
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["runbook_url"] == f"https://runbooks.example.org/databosun/{alert['alert']}.md"
