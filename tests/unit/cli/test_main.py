"""The command line itself: what it lists, how it refuses, and that it is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
import yaml
from typer.testing import CliRunner

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.cli import complete, running, session
from databosun.cli.main import app
from databosun.cli.options import Type
from databosun.cli.output import Screen
from databosun.cli.reference import reference
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.kube.answers import Call, refusal
from databosun.kube.errors import NoKubeconfig, Unreachable
from databosun.kube.resources import BACKUPS
from support.applied import database, policy
from support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> Terminal:
    """Commands reach the terminal's cluster."""
    monkeypatch.setattr(running, "open_session", lambda _where, _screen: terminal.session)
    return terminal


def explained(status: int, body: bytes) -> str:
    """What a person reads of an answer of the API server."""
    error = refusal(Call("list", BACKUPS, "shop"), status, body)
    assert isinstance(error, DatabosunError)
    return running.explain(error)


def call(*arguments: str, **more: Any) -> Any:
    return CliRunner().invoke(app, arguments, **more)


def test_help_lists_every_command() -> None:
    said = call("--help").output
    for name in (
        "status",
        "backup",
        "drill",
        "restore",
        "approve",
        "doctor",
        "catalog",
        "crds",
        "uninstall-cleanup",
        "operator",
        "agent",
    ):
        assert f"\n  {name} " in said
    assert "..." not in said.partition("Commands:")[2]


def test_help_loads_nothing_that_takes_long() -> None:
    code = "import sys; sys.argv = ['databosun', '--help']\ntry:\n  from databosun.__main__ import main; main()\n"
    code += "finally:\n  print([m for m in ('kubernetes', 'pydantic', 'rich', 'kopf', 'yaml') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_types_are_those_of_the_api() -> None:
    assert {one.value for one in Type} == {one.value for one in BackupType}


def test_the_reference_is_what_the_program_says() -> None:
    written = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert written == reference(), "run: python -m databosun.cli.reference > docs/reference/cli.md"


def test_crds_are_yaml_that_kubectl_takes() -> None:
    documents = list(yaml.safe_load_all(call("crds").output))
    assert [one["kind"] for one in documents] == ["CustomResourceDefinition"] * len(documents)
    assert "backups.databosun.io" in {one["metadata"]["name"] for one in documents}


def test_a_backup_is_created_and_named(at: Terminal) -> None:
    database(at.kube)
    policy(at.kube)
    done = call("backup", "orders", "-t", "Incremental", "--start-within", "10m")
    assert done.exit_code == 0, done.output
    [body] = at.kube.all(BACKUPS)
    assert at.said == f"backup.databosun.io/{body['metadata']['name']} created"
    assert (body["spec"]["type"], body["spec"]["notAfter"]) == ("Incremental", "2026-03-01T12:10:00Z")
    assert at.kube.closed


def test_a_fault_is_one_line_and_no_traceback(at: Terminal) -> None:
    done = call("backup", "orders")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "error: Database orders is not in namespace shop; see: kubectl get databases.databosun.io -A"
    ]


@pytest.mark.parametrize(
    "arguments", [["backup"], ["status", "-o", "xml"], ["backup", "x", "--timeout", "soon"], ["what"]]
)
def test_what_is_not_understood_is_refused(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_a_wrong_duration_is_explained() -> None:
    assert "is not a duration; expected numbers with units" in " ".join(
        call("backup", "x", "--timeout", "soon").output.split()
    )


def test_ctrl_c_says_that_the_backup_goes_on(at: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    database(at.kube)
    policy(at.kube)

    async def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(at.clock, "sleep", interrupt)
    done = call("backup", "orders", "--wait")
    assert done.exit_code == 130
    [body] = at.kube.all(BACKUPS)
    assert f"the backup goes on; see: kubectl get bbk -n shop {body['metadata']['name']}" in done.stderr


def test_approve_asks_unless_told_not_to(at: Terminal) -> None:
    policy(at.kube)
    assert call("approve", "daily", "--yes").exit_code == 0
    assert "nothing to approve" in at.said


def test_a_missing_right_is_the_users_own() -> None:
    message = 'databases.databosun.io is forbidden: User "ada" cannot list resource "databases"'
    body = json.dumps({"kind": "Status", "message": message}).encode()
    said = explained(403, body)
    assert said.startswith(message)
    assert "the operator" not in said
    assert "databosun-view" in said


def test_an_expired_login_is_the_users_own() -> None:
    said = explained(401, b"Unauthorized")
    assert "your login's token" in said
    assert said.endswith("Log in again")


def test_what_to_do_is_said() -> None:
    assert "--kubeconfig" in running.explain(NoKubeconfig("no file"))
    assert "--context" in running.explain(Unreachable("no answer"))
    assert "databosun crds | kubectl apply" in explained(404, b"404 page not found")
    assert running.explain(WorldFault("X", "two\n  lines")) == "two lines"


def test_names_are_completed_from_the_cluster(at: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "open_session", lambda _where, _screen: at.session)
    database(at.kube, "orders")
    database(at.kube, "offers")
    database(at.kube, "payments")
    environment = {"COMP_WORDS": "databosun backup o", "COMP_CWORD": "2", "_DATABOSUN_COMPLETE": "complete_bash"}
    done = call(prog_name="databosun", env=environment)
    assert done.stdout.split() == ["offers", "orders"]


def test_completion_is_quiet_where_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_where: object, _screen: Screen) -> None:
        raise NoKubeconfig("no file")

    monkeypatch.setattr(session, "open_session", nowhere)

    nothing_typed = SimpleNamespace(params={})
    assert complete.names_of("Database")(cast("typer.Context", nothing_typed), "o") == []


def test_no_colours_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Screen().out.no_color
