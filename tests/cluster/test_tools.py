"""Pinned programs: brought once, whoever asks, and whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hack.debian import Undelivered, unpack

from cluster.handle import HACK, LIMIT, eventually

TOOLS = str(HACK / "tools" / "tools")


def _start(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TOOLS, *arguments],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(started: Sequence[subprocess.Popen[str]]) -> tuple[set[str], str]:
    """Return what all of them printed, and everything they said on the way."""
    printed, said = set(), ""
    for process in started:
        output, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, errors
        printed.add(output.strip())
        said += errors
    return printed, said


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that every user can reach into, as root's own often is not."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == tmp_path.owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


@pytest.mark.servers
def test_many_at_once_bring_a_tool_once(cache: Path) -> None:
    printed, said = _finish([_start(cache, "get", "postgresql-15") for _ in range(4)])
    assert printed == {str(cache / "databosun" / "postgresql" / "15" / "bin")}
    assert said.count("bringing postgresql-15") == 1
    version = subprocess.run(
        [Path(printed.pop()) / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("postgres (PostgreSQL) 15.")


@pytest.mark.servers
def test_a_killed_download_is_no_tool(cache: Path) -> None:
    killed = _start(cache, "get", "helm")
    family = cache / "databosun" / "helm"
    eventually(lambda: any(family.glob(".*.part")), "the download has begun")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not [path for path in family.iterdir() if not path.name.startswith(".")]
    printed, _ = _finish([_start(cache, "get", "helm")])
    version = subprocess.run([Path(printed.pop()) / "helm", "version"], capture_output=True, text=True, check=True)
    assert 'Version:"v4.' in version.stdout
    assert not [path for path in family.iterdir() if path.name.startswith(".")]


@pytest.mark.servers
def test_a_suite_that_does_not_deliver_is_told_apart_from_what_is_wrong_here(tmp_path: Path) -> None:
    """Tests are skipped for the one, and fail for the other."""
    with pytest.raises(Undelivered, match="Debian's nosuchsuite does not deliver mysql-server-core"):
        unpack("nosuchsuite", ["mysql-server-core"], tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_an_unknown_tool_is_named(tmp_path: Path) -> None:
    refused = _start(tmp_path, "get", "postgresql-9")
    said = refused.communicate()[1]
    assert "no such tool: postgresql-9; there are " in said
    assert {"helm", "patroni", "postgresql-14", "postgresql-18", "toxiproxy", "valkey"} <= set(said.split()), said
    assert refused.returncode == 1
