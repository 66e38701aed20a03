"""The chart databosun-crds: the repository's CRDs, never deleted by Helm."""

from __future__ import annotations

import copy
import subprocess
import sys

import yaml

from chart.rendering import CRDS_CHART, ROOT, Helm

SOURCES = sorted((ROOT / "crds").glob("*.yaml"))
KINDS = {"Database", "BackupStorage", "BackupPolicy", "Backup", "Approval"}


def test_what_the_charts_repeat_has_not_drifted() -> None:
    """Put it right with `hack/charts/charts sync`."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "charts" / "charts"), "check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_chart_brings_every_kind_and_keeps_it(helm: Helm) -> None:
    crds = helm.render(CRDS_CHART).manifests
    assert {one["kind"] for one in crds} == {"CustomResourceDefinition"}
    assert {one["spec"]["names"]["kind"] for one in crds} >= KINDS
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in crds} == {"keep"}


def test_nothing_else_of_a_crd_is_changed_on_the_way(helm: Helm) -> None:
    rendered = {one["metadata"]["name"]: one for one in helm.render(CRDS_CHART).manifests}
    assert SOURCES
    for source in SOURCES:
        original = yaml.safe_load(source.read_text())
        made = copy.deepcopy(rendered[original["metadata"]["name"]])
        assert made["spec"] == original["spec"], source.name
        for field in ("labels", "annotations"):
            assert made["metadata"].pop(field).items() >= original["metadata"].pop(field, {}).items(), source.name
        assert made["metadata"] == original["metadata"], source.name


def test_users_add_labels_and_annotations_but_cannot_take_keep_away(helm: Helm) -> None:
    rendered = helm.render(
        CRDS_CHART, labels={"team": "data"}, annotations={"note": "ours", "helm.sh/resource-policy": "delete"}
    )
    for one in rendered.manifests:
        assert one["metadata"]["labels"]["team"] == "data"
        assert one["metadata"]["annotations"]["note"] == "ours"
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
