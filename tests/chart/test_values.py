"""values.yaml, values.schema.json and README.md say the same, and what is wrong is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CRDS_CHART, OPERATOR_CHART, Helm, Refused

CHARTS = pytest.mark.parametrize("chart", [OPERATOR_CHART, CRDS_CHART], ids=lambda chart: chart.name)


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, part in schema["properties"].items():
        yield f"{path}{name}", part
        if "properties" in part:
            yield from leaves(part, f"{path}{name}.")


def value_paths(values: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}{name}"
        part = schema["properties"].get(name, {})
        if isinstance(value, dict) and "properties" in part:
            yield from value_paths(value, part, f"{path}{name}.")


@CHARTS
def test_values_and_schema_name_the_same(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    described = {path for path, _ in leaves(schema)} - {"global", "enabled"}
    assert set(value_paths(values, schema)) == described


@CHARTS
def test_every_value_is_described_and_every_object_closed(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    for path, part in leaves(schema):
        assert len(part.get("description", "")) > 5, path
        assert part["type"] in ("string", "boolean", "integer", "array", "object"), path
        if "properties" in part:
            assert part["additionalProperties"] is False, path


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicaCount": 2}, ["replicaCount"]),
        ({"image": {"name": "x"}}, ["/image", "name"]),
        ({"replicas": 3}, ["/replicas", "2"]),
        ({"replicas": "1"}, ["/replicas", "integer"]),
        ({"watchNamespaces": "shop"}, ["/watchNamespaces", "array"]),
        ({"watchNamespaces": ["Shop"]}, ["/watchNamespaces/0", "Shop"]),
        ({"watchNamespaces": ["shop", "shop"]}, ["/watchNamespaces"]),
        ({"clusterId": "has blanks"}, ["/clusterId"]),
        ({"image": {"digest": "latest"}}, ["/image/digest"]),
        ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy", "IfNotPresent"]),
        ({"runners": {"images": {"Oracle": {"19": ""}}}}, ["/runners/images", "Oracle"]),
        ({"runners": {"images": {"PostgreSQL": {"latest": ""}}}}, ["/runners/images/PostgreSQL", "latest"]),
        ({"logLevel": "trace"}, ["/logLevel", "debug"]),
        ({"resync": "ten minutes"}, ["/resync"]),
        ({"metrics": {"port": 80}}, ["/metrics/port", "1,024"]),
        ({"extraEnv": [{"name": "A", "valueFrom": {}}]}, ["/extraEnv/0", "valueFrom"]),
        ({"serviceMonitor": {"interval": "soon"}}, ["/serviceMonitor/interval"]),
        ({"prometheusRule": {"runbookBaseUrl": "docs"}}, ["/prometheusRule/runbookBaseUrl"]),
        ({"openshift": "yes"}, ["/openshift", "boolean"]),
        ({"terminationGracePeriodSeconds": 5}, ["/terminationGracePeriodSeconds", "20"]),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else None,
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, values: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        helm.render(**values)
    said = str(refused.value)
    assert "values don't meet the specifications of the schema" in said
    for word in named:
        assert word in said.replace(".", "/"), said


def test_the_chart_can_be_part_of_another(helm: Helm, tmp_path: Path) -> None:
    """A parent chart's `condition` and `global` reach the schema of ours."""
    parent = {
        "apiVersion": "v2",
        "name": "platform",
        "version": "1.0.0",
        "dependencies": [{"name": "databosun", "version": "*", "condition": "databosun.enabled"}],
    }
    (tmp_path / "Chart.yaml").write_text(json.dumps(parent))
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "databosun").symlink_to(OPERATOR_CHART)
    values: dict[str, Any] = {"global": {"region": "north"}, "databosun": {"enabled": True}}
    assert "Deployment" in helm.render(tmp_path, **values).kinds()
