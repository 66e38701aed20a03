"""The commands of the runbooks, run against a real API server: who is woken has no time for a typing error."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart.people import Guarded, Space
from chart.rendering import CRDS_CHART, ROOT, Helm
from support.cluster import Cluster

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("Databosun*.md"))
EVERY_RUNBOOK = pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
SHELL = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# Commands on objects of the alert's namespace that end by themselves, and what they speak of.
RUNNABLE = re.compile(r"((BACKUP|RUN)=\$\()?kubectl (get|annotate|label|patch) (?!.*--watch)")
SETTINGS = (
    "NS={namespace} DB=orders POLICY=nightly STORAGE=prod DRILL=orders TEST=orders LIFECYCLE=old-orders OP={namespace} "
    "KIND=BackupPolicy NAME=nightly"
)


def blocks(runbook: Path) -> list[str]:
    """The shell scripts of a runbook."""
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in SHELL.findall(runbook.read_text())]


@EVERY_RUNBOOK
def test_the_shell_understands_every_command(runbook: Path) -> None:
    for block in blocks(runbook):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def shop(kinds: Cluster, helm: Helm) -> Iterator[Space]:
    """A namespace with one object of each kind, named as in the runbooks."""
    guarded = Guarded(kinds, uuid.uuid4().hex[:8])
    guarded.bring(helm.render(CRDS_CHART).manifests)
    with guarded.space(f"runbooks-{guarded.run}") as space:
        space.example()
        yield space


COMMANDS = [
    pytest.param(line, id=f"{runbook.stem}-{number}")
    for runbook in RUNBOOKS
    for number, line in enumerate(line for block in blocks(runbook) for line in block.splitlines())
    if RUNNABLE.match(line) and any(word in line for word in ("$NS", "$BACKUP", " -A"))
]


@pytest.mark.api
@pytest.mark.parametrize("command", COMMANDS)
def test_the_api_server_understands_the_command(shop: Space, command: str) -> None:
    settings = SETTINGS.format(namespace=shop.namespace)
    script = f"set -euo pipefail; {settings}; BACKUP=backups.databosun.io/orders-1 RUN=orders-1\n"
    script += re.sub(r" NAME\b", " orders-1", command)
    done = subprocess.run(["bash", "-c", script], env=shop.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
