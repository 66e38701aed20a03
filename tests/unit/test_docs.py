"""The pages for users say what is so: their YAML is taken, their commands are understood, their names exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from crd.objects import CRDS, fields, places, schema_of
from databosun.api.drill import CheckType
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.kinds import KINDS
from databosun.api.v1alpha1.reasons import WHAT_TO_DO
from databosun.cli.main import app
from databosun.cli.reasons import CliReason
from databosun.domain.presets import effective
from support.docs import PAGES, ROOT, Block, blocks, broken_links, own_objects, words

BY_NAME = {kind.kind: kind for kind in KINDS}
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
OBJECTS = [
    *own_objects(),
    *((path.name, yaml.safe_load(path.read_text())) for path in sorted((ROOT / "examples").rglob("*.yaml"))),
]
EVERY_OBJECT = pytest.mark.parametrize("body", [pytest.param(body, id=where) for where, body in OBJECTS])


def block_params(*languages: str) -> list[Any]:
    return [pytest.param(one, id=one.where) for one in blocks(*languages)]


# --- YAML


def test_there_is_yaml_and_there_are_commands() -> None:
    assert {"Database", "BackupStorage", "BackupPolicy", "Backup", "Approval"} <= {body["kind"] for _, body in OBJECTS}
    assert {"backup", "approve", "doctor", "catalog rebuild"} <= {command for command, _ in _bosun_calls()}


@pytest.mark.parametrize("block", block_params("yaml"))
def test_a_yaml_block_holds_whole_objects_or_values(block: Block) -> None:
    for one in block.documents:
        assert block.is_values or {"apiVersion", "kind", "metadata"} <= set(one), one


@EVERY_OBJECT
def test_an_object_has_no_field_that_is_unknown(body: Mapping[str, Any]) -> None:
    assert body["kind"] in BY_NAME
    assert set(body) <= {"apiVersion", "kind", "metadata", "spec"}
    known = {place for place, _ in places(schema_of(body["kind"]), body)}
    assert [place for place in _said(body["spec"], ("spec",)) if not _described(place, known)] == []


@EVERY_OBJECT
def test_an_object_fits_its_model_and_name(body: Mapping[str, Any]) -> None:
    kind = BY_NAME[body["kind"]]
    kind.spec.model_validate(body["spec"])
    name = body["metadata"]["name"]
    assert "." not in name
    assert len(name) <= (kind.name_limit or 253)


@pytest.mark.parametrize("body", [pytest.param(one, id=at) for at, one in OBJECTS if one["kind"] == "BackupPolicy"])
def test_a_policy_can_be_carried_out(body: Mapping[str, Any]) -> None:
    model: Any = BY_NAME["BackupPolicy"].spec
    assert effective(model.model_validate(body["spec"]), "PostgreSQL").schedules


RULES: Mapping[str, Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "Database": {
        "one of host and hosts": lambda spec: ("host" in spec["connection"]) != ("hosts" in spec["connection"]),
        "an authority to check against": lambda spec: (
            spec["connection"].get("tls", {}).get("mode") not in ("VerifyCA", "VerifyFull")
            or "caSecretRef" in spec["connection"]["tls"]
        ),
    },
    "BackupStorage": {
        "one of s3 and volume": lambda spec: ("s3" in spec) != ("volume" in spec),
        "locks in buckets only": lambda spec: "immutability" not in spec or "s3" in spec,
    },
    "BackupPolicy": {
        "one of databaseRef and databaseSelector": lambda spec: ("databaseRef" in spec) != ("databaseSelector" in spec),
        "a preset or schedules": lambda spec: "preset" in spec or bool(spec.get("schedules")),
        "a full to stand on": lambda spec: (
            not spec.get("schedules") or any(row.get("type", "Full") == "Full" for row in spec["schedules"])
        ),
    },
    "Backup": {
        "a database or a policy": lambda spec: "databaseRef" in spec or "policyRef" in spec,
        "a storage": lambda spec: "storageRef" in spec or "policyRef" in spec,
        "notAfter where a person made it": lambda spec: "scheduledFor" in spec or "notAfter" in spec,
    },
}
"""What the API server checks across fields, as far as an example could break it."""


@EVERY_OBJECT
def test_an_object_keeps_the_rules_across_fields(body: Mapping[str, Any]) -> None:
    rules = RULES.get(body["kind"], {})
    assert [rule for rule, holds in rules.items() if not holds(body["spec"])] == []


# --- commands


@pytest.mark.parametrize("block", block_params("sh", "bash"))
def test_the_shell_understands_every_command(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _bosun_calls() -> Iterable[tuple[str, str]]:
    pattern = re.compile(r"(?:kubectl bosun|(?<![\w/.-])databosun) ((?:catalog )?[a-z][a-z-]*)([^\n|;&`]*)")
    for page in PAGES:
        found = "\n".join([*(one.text for one in blocks("sh", "bash", "console") if one.page == page), *words(page)])
        for match in pattern.finditer(found):
            if match[1].split(" ")[0] in _commands():
                yield match[1], match[2]


@cache
def _commands() -> Mapping[str, Any]:
    group: Any = typer.main.get_command(app)
    nested = {f"{name} {sub}": one for name, sub, one in _nested(group)}
    return {**group.commands, **nested}


def _nested(group: Any) -> Iterable[tuple[str, str, Any]]:
    for name, command in group.commands.items():
        for sub, one in getattr(command, "commands", {}).items():
            yield name, sub, one


@pytest.mark.parametrize(("command", "arguments"), sorted(set(_bosun_calls())))
def test_the_command_line_knows_every_command_and_option(command: str, arguments: str) -> None:
    known = {option for one in _commands()[command].params for option in (*one.opts, *one.secondary_opts)}
    assert {word.partition("=")[0] for word in arguments.split() if re.match(r"--?[a-zA-Z]", word)} <= known


# --- names and links


@EVERY_PAGE
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


FIELDS = {path for kind in CRDS for path, _ in fields(schema_of(kind))}
FIELD = re.compile(r"(?:spec|status)\.[a-zA-Z][\w.\[\]]*|(?:podTemplate|retention|s3|volume)\.[a-zA-Z][\w.]*")


WRITTEN = [page for page in PAGES if page.parent.name != "reference"]  # the others are generated


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_field_that_is_named_exists(page: Path) -> None:
    named = {word for word in words(page) if FIELD.fullmatch(word)}
    assert {word for word in named if not any(_ends_in(path, word) for path in FIELDS)} == set()


VALUES = {value for kind in CRDS for _, one in fields(schema_of(kind)) for value in one.get("enum", ())}
KUBERNETES = {
    "ClusterRole", "ConfigMap", "ContainerCreating", "CrashLoopBackOff", "ImagePullBackOff", "NetworkPolicy",
    "OOMKilled", "PodDisruptionBudget", "PrometheusRule", "ReadWriteMany", "ReadWriteOnce",
    "ReadWriteOncePod", "ServiceAccount", "ServiceMonitor",
}  # fmt: skip
OTHERS = {"EngineManifest", "EngineYard", "NotObserved", "NetworkChaos", "PodChaos"}
CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z]+[a-z]*)+")


@pytest.mark.parametrize("page", [*HOW_TO, *(ROOT / "docs" / "concepts").glob("*.md")], ids=lambda page: page.stem)
def test_every_reason_and_kind_that_is_named_exists(page: Path) -> None:
    known = {
        *map(str, WHAT_TO_DO),
        *map(str, ConditionType),
        *BY_NAME,
        *map(str, CliReason),
        *map(str, CheckType),
        *VALUES,
    }
    alerts = {path.stem for path in (ROOT / "docs" / "runbooks").glob("Databosun*.md")}
    named = {word for word in words(page) if CAMEL.fullmatch(word)}
    assert named - known - alerts - KUBERNETES - OTHERS == set()


def test_every_how_to_is_listed() -> None:
    index = (ROOT / "docs" / "how-to" / "README.md").read_text()
    assert [page.name for page in HOW_TO if page.name != "README.md" and f"({page.name})" not in index] == []


def _ends_in(path: str, word: str) -> bool:
    """Whether a path ends in the word; a map takes any key."""
    pattern = re.escape(path.replace("[]", "")).replace(re.escape("{}"), r"\.[^.]+")
    tail = word.replace("[]", "").count(".") + 1
    return re.fullmatch(r"\.".join(pattern.split(r"\.")[-tail:]), word.replace("[]", "")) is not None


def _said(value: Any, place: tuple[str | int, ...]) -> Iterable[tuple[str | int, ...]]:
    """Every place of a value, down to its leaves."""
    yield place
    children = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _said(child, (*place, key))


def _described(place: tuple[str | int, ...], known: set[tuple[str | int, ...]]) -> bool:
    """Whether a schema speaks of the place, or leaves free what stands in the one above (an affinity, a toleration)."""
    return place in known or any(place[:length] in FREE_ENDS for length in range(len(place)))


FREE_ENDS: set[tuple[str | int, ...]] = {("spec", "podTemplate", "affinity")}
