"""Render the project's charts with the real helm, and read what comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
OPERATOR_CHART = CHARTS / "databosun"
CRDS_CHART = CHARTS / "databosun-crds"

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm would not render the chart; the text is its own."""


def find_helm() -> Path:
    """The machine's helm 4, else the pinned one of `hack/tools`."""
    found = shutil.which("helm")
    if found and subprocess.run([found, "version", "--short"], capture_output=True, text=True).stdout.startswith("v4."):
        return Path(found)
    command = [sys.executable, str(ROOT / "hack" / "tools" / "tools"), "get", "helm"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()) / "helm"


@dataclass(frozen=True, slots=True)
class Helm:
    """One helm program."""

    program: Path

    def run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run it with `values` as a values file; Refused with its words where it fails."""
        with_values = [*arguments, "--values", "-"] if values is not None else list(arguments)
        done = subprocess.run(
            [str(self.program), *with_values], input=json.dumps(values or {}), capture_output=True, text=True
        )
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def render(
        self,
        chart: Path = OPERATOR_CHART,
        release: str = "databosun",
        release_namespace: str = "databosun-system",
        **values: Any,
    ) -> Rendered:
        """The manifests of a release; what is said by name are its values."""
        text = self.run("template", release, str(chart), "--namespace", release_namespace, values=values)
        return Rendered(tuple(one for one in yaml.safe_load_all(text) if one))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The manifests of one release."""

    manifests: tuple[Manifest, ...]

    def all(self, kind: str) -> list[Manifest]:
        """Every manifest of a kind."""
        return [one for one in self.manifests if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None, namespace: str | None = None) -> Manifest:
        """The only manifest of a kind with this name and namespace, where they are given."""
        found = [
            one
            for one in self.all(kind)
            if name in (None, one["metadata"]["name"]) and namespace in (None, one["metadata"].get("namespace"))
        ]
        assert len(found) == 1, f"{len(found)} of {kind} {namespace or ''}/{name or ''}, expected one"
        return found[0]

    def kinds(self) -> set[str]:
        """The kinds that occur."""
        return {one["kind"] for one in self.manifests}

    def rights(self, account: str) -> set[Right]:
        """What the Roles and ClusterRoles bound to a ServiceAccount of the release's namespace allow."""
        found: set[Right] = set()
        for binding in (*self.all("RoleBinding"), *self.all("ClusterRoleBinding")):
            if account not in [subject["name"] for subject in binding["subjects"]]:
                continue
            namespace = binding["metadata"].get("namespace")
            role = self.one(binding["roleRef"]["kind"], binding["roleRef"]["name"], namespace)
            found |= set(_rights(role["rules"], namespace))
        return found


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource; `namespace` None: in all of the cluster."""

    namespace: str | None
    group: str
    resource: str
    verb: str
    name: str | None = None


def _rights(rules: Iterable[Mapping[str, Any]], namespace: str | None) -> Iterable[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [None]):
                        yield Right(namespace, group, resource, verb, name)


def rule_rights(role: Manifest) -> set[Right]:
    """What one Role or ClusterRole allows by itself."""
    return set(_rights(role["rules"], role["metadata"].get("namespace")))


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The literal variables of a container."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}
