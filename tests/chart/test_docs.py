"""Every example of values in the pages for users is taken by the charts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

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


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5
