"""Every example of values and queries in the pages for users is taken by the charts and by Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.promql import declared_metrics, metrics_in, promtool
from chart.rendering import CHARTS, Helm
from support.docs import blocks


def examples() -> Iterator[Any]:
    """Values with the chart that they are for: blocks of values, and those of HelmReleases."""
    for block in blocks("yaml"):
        if block.is_values:
            yield pytest.param("databosun", yaml.safe_load(block.text), id=block.where)
            continue
        for one in block.documents:
            if one["kind"] == "HelmRelease":
                spec = one["spec"]
                yield pytest.param(spec["chart"]["spec"]["chart"].rpartition("/")[2], spec["values"], id=block.where)


EXAMPLES = list(examples())


@pytest.mark.parametrize(("chart", "values"), EXAMPLES)
def test_the_chart_takes_the_values(helm: Helm, chart: str, values: dict[str, Any]) -> None:
    assert "kind: " in helm.run("template", "databosun", str(CHARTS / chart), values=values)


def queries() -> list[str]:
    """The queries of the pages: separated by empty lines, each below its comment."""
    return [one for block in blocks("promql") for one in block.text.split("\n\n")]


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(queries())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_every_metric_of_a_query_is_there() -> None:
    assert {name for one in queries() for name in metrics_in(one)} <= set(declared_metrics())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5
    assert len(queries()) > 3
