"""`databosun report` and `databosun review`: from files and from a cluster, to a file and an exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from databosun.cli.main import app
from databosun.cli.report import cluster, command
from databosun.cli.report.noting import note
from databosun.domain.errors import UserFault
from databosun.kube.resources import OWN_KINDS
from support.evidence import START, Chain, chain_of
from support.pemkeys import pem_of
from support.terminal import Terminal

KEY = Ed25519PrivateKey.generate()
MANIFEST: dict[str, Any] = {
    "id": "backup-of-orders-01",
    "attempt": 1,
    "database": {"namespace": "shop", "name": "orders", "uid": "u-1", "engineVersion": "18.1"},
    "type": "Full",
    "method": "Physical",
    "startedAt": "2026-02-01T00:00:00Z",
    "completedAt": "2026-02-01T00:01:00Z",
    "position": {},
    "logicalBytes": 1,
    "storedBytes": 1,
}


def stored(root: Path, chain: Chain) -> Path:
    """The records as they lie in a copy of the store."""
    for one in chain.found:
        path = root / one.where.removeprefix("s3://backups/")
        path.parent.mkdir(parents=True)
        path.write_bytes(one.data)
    return root


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["report", "--since", "2026-01-01", *arguments])


def test_records_in_a_folder_are_reported_without_a_cluster(tmp_path: Path) -> None:
    chain = chain_of(3, key=KEY)
    key = tmp_path / "public.pem"
    key.write_text(pem_of(KEY)[1])
    folder = stored(tmp_path / "copy", chain)
    manifest = folder / "shop/orders/backups/backup-of-orders-01/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(MANIFEST))
    done = run("--evidence", str(folder), "--public-key", str(key), "--format", "json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["totals"] | {"signed": 3, "broken": 0, "drills": 3} == document["totals"]
    assert document["databases"][0]["coverage"]["backups"] == 1
    assert document["databases"][0]["drills"][-1]["manifest"] == "Differs"


def test_a_changed_record_makes_the_exit_code_one_and_the_report_is_written_all_the_same(tmp_path: Path) -> None:
    chain = chain_of(3)
    chain.found[1] = replace(chain.found[1], data=chain.found[1].data.replace(b"6 checks", b"9 checks"))
    file = tmp_path / "report.html"
    done = run("--evidence", str(stored(tmp_path / "copy", chain)), "-o", str(file))
    assert done.exit_code == 1
    assert "records missing or not as written: 1" in done.stderr
    assert "<!doctype html>" in file.read_text()
    assert "NOT AS WRITTEN" in file.read_text()


def test_the_name_of_the_file_says_the_form(tmp_path: Path) -> None:
    folder = stored(tmp_path / "copy", chain_of(1))
    for name, begin in (("a.pdf", b"%PDF"), ("a.md", b"# Recovery"), ("a.json", b"{"), ("a.html", b"<!doctype")):
        assert run("--evidence", str(folder), "-o", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(begin)


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    folder = stored(tmp_path / "copy", chain_of(1))
    (folder / "evidence.json").write_text("{}")
    done = run("--evidence", str(folder))
    assert done.exit_code == 1
    assert "no evidence of schema 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--evidence", "/nowhere"], "no folder"),
        (["--evidence", ".", "--public-key", "/nowhere"], "--public-key"),
        (["--evidence", ".", "--since", "yesterday"], "--since"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["report", *arguments])
    assert done.exit_code == 1
    assert said in done.stderr


# --- from a cluster


def put(terminal: Terminal, one: dict[str, Any]) -> None:
    """Have it in the cluster."""
    terminal.kube.put(next(resource for resource in OWN_KINDS if resource.kind == one["kind"]), one)


def body(kind: str, name: str, spec: dict[str, Any], status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "databosun.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": spec,
        "status": status,
    }


RUN_STATUS = {
    "phase": "Passed",
    "completionTime": "2026-02-28T04:00:00Z",
    "backup": {
        "name": "orders-1",
        "database": "orders",
        "resolvedAt": "2026-02-28T03:00:00Z",
        "checksum": "a" * 64,
    },
    "until": {"kind": "Latest"},
    "level": "Deep",
    "levelReached": "Deep",
    "proven": True,
    "checks": [{"name": "tables", "type": "RowCount", "severity": "Critical", "result": "Passed"}],
    "rto": {"milliseconds": 41_500, "seconds": 42, "took": "41.5s", "objective": "15m", "met": True},
    "rpo": {
        "milliseconds": 9000,
        "seconds": 9,
        "span": "9.0s",
        "objective": "5m",
        "met": True,
        "source": "Commit",
        "newest": "2026-02-28T03:59:00Z",
        "exact": True,
    },
    "evidence": {"uri": "s3://backups/shop/orders/drills/r-1/evidence.json", "sha256": "b" * 64},
}
CONNECTION = {"host": "h", "credentialsSecretRef": {"name": "s"}}


@pytest.fixture
async def filled(terminal: Terminal) -> Terminal:
    bodies = [
        body(
            "Database",
            "orders",
            {"engine": "PostgreSQL", "tier": 1, "connection": CONNECTION},
            {"conditions": [{"type": "Proven", "status": "True", "reason": "Passed"}]},
        ),
        body(
            "RestoreDrillRun",
            "r-1",
            {"databaseRef": {"name": "orders"}, "notAfter": "2026-02-28T04:00:00Z"},
            RUN_STATUS,
        ),
        body(
            "RestoreDrillRun",
            "r-2",
            {"databaseRef": {"name": "orders"}, "notAfter": "2026-02-28T04:00:00Z"},
            {"phase": "Refused", "completionTime": "2026-02-28T05:00:00Z"},
        ),
        body(
            "Backup",
            "orders-1",
            {
                "databaseRef": {"name": "orders"},
                "storageRef": {"name": "prod"},
                "type": "Full",
                "scheduledFor": "2026-02-27T00:00:00Z",
            },
            {"phase": "Succeeded", "completionTime": "2026-02-27T00:10:00Z"},
            labels={"databosun.io/finished": "Succeeded"},
        ),
    ]
    for one in bodies:
        put(terminal, one)
    return terminal


async def test_what_a_cluster_remembers_is_reported_as_that(filled: Terminal) -> None:
    wish = command.Wish((), "1y", None, None, None, (), records=False)
    made = await command.online(filled.session, wish)
    one = made.databases[0]
    assert one.objectives.rto == 900
    assert one.drills[0].record.trust == "StatusOnly"
    assert one.drills[0].rto is not None
    assert (one.drills[0].rto.seconds, one.drills[0].rto.objective) == (41.5, 900)
    assert one.not_said == {"Refused": 1}
    assert one.coverage.drilled == 1
    assert any("not read" in source for source in made.sources)


async def test_a_failover_test_that_a_cluster_remembers_is_reported(filled: Terminal) -> None:
    spec = {"testRef": {"name": "t"}, "databaseRef": {"name": "orders"}, "notAfter": "2026-02-28T04:00:00Z"}
    plan = {
        "provider": "Sentinel", "mode": "ForcedFailover", "primary": "n1", "candidate": "n2", "members": ["n1", "n2"],
        "hash": "h", "at": "2026-02-28T03:00:00Z", "until": "2026-02-28T09:00:00Z",
    }  # fmt: skip
    status = {
        "phase": "Failed", "plan": plan, "movedAt": "2026-02-28T03:10:00Z", "completionTime": "2026-02-28T03:12:00Z",
        "result": {"writeDowntimeMilliseconds": 2600, "acknowledged": 900, "lost": 30, "rejoinLost": 1},
        "failure": {"reason": "WritesLost", "message": "31 of 900 are lost", "at": "2026-02-28T03:12:00Z"},
    }  # fmt: skip
    put(filled, body("FailoverTestRun", "moved", spec, status))
    put(filled, body("FailoverTestRun", "refused", spec, {"phase": "Refused"}))
    made = await command.online(filled.session, command.Wish((), "1y", None, None, None, (), records=False))
    (one,) = made.failovers
    assert (one.run, one.verdict, one.reason, one.mode) == ("moved", "Failed", "WritesLost", "ForcedFailover")
    assert (one.write_downtime, one.lost, one.acknowledged) == (2.6, 31, 900)
    assert one.record.trust == "StatusOnly"


async def test_an_object_that_cannot_be_read_is_named_and_the_rest_is_shown(filled: Terminal) -> None:
    put(filled, body("Database", "broken", {"engine": "PostgreSQL", "tier": 9}, {}))
    known = await cluster.ask(filled.session)
    assert [one.name for one in known.databases] == ["orders"]
    assert "shop/broken" in known.notes[0]


async def test_a_note_stands_in_the_report(filled: Terminal) -> None:
    filled.kube.reviews["SelfSubjectReview"] = lambda _: {"userInfo": {"username": "jo"}}
    assert await note(filled.session, "r-1", "slow disk", "RB-1") == 0
    made = await command.online(filled.session, command.Wish((), "1y", None, None, None, (), records=False))
    review = made.databases[0].drills[0].review
    assert review is not None
    assert (review.findings, review.runbooks) == ("slow disk", "RB-1")
    assert review.by == "jo"


@pytest.mark.parametrize(("run_name", "findings"), [("r-1", None), ("r-3", "x"), ("r-1", "x" * 20_000)])
async def test_a_note_that_says_nothing_or_is_of_nothing_is_refused(
    filled: Terminal, run_name: str, findings: str | None
) -> None:
    with pytest.raises(UserFault):
        await note(filled.session, run_name, findings, None)


async def test_a_drill_without_a_verdict_is_not_noted_about(filled: Terminal) -> None:
    spec = {"databaseRef": {"name": "orders"}, "notAfter": f"{START:%Y-%m-%dT%H:%M:%SZ}"}
    put(filled, body("RestoreDrillRun", "going", spec, {"phase": "Running"}))
    with pytest.raises(UserFault, match="no verdict"):
        await note(filled.session, "going", "x", None)
