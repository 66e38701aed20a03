"""The engine's part of RESTORE.md: the commands of AWS's own client, from this very snapshot to an endpoint.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from databosun.engines.base import RestoreDoc
from databosun.engines.rds.snapshots import CLUSTER

_STANDBY = "It stands in one zone; `aws rds modify-db-instance --multi-az` gives it a standby."


def restore_markdown(doc: RestoreDoc) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    manifest = doc.manifest
    parts, known = manifest["elsewhere"], manifest["environment"]["rds"]
    clustered = parts[0]["kind"] == CLUSTER
    return (
        "\n".join([*_before(manifest, parts, known), *_make(parts[0], known, clustered=clustered), *_after(known)])
        + "\n"
    )


def _before(manifest: Mapping[str, Any], parts: list[Mapping[str, Any]], known: Mapping[str, Any]) -> list[str]:
    copies = [
        f"A copy of it is `{part['name']}` in {part['region']}: name that one and its region below."
        for part in parts[1:]
    ]
    source = known.get("cluster") or known.get("instance")
    at = ["export AWS_ENDPOINT_URL_RDS=" + shlex.quote(known["endpoint"])] if known.get("endpoint") else []
    return [
        "## 5. Restore into RDS",
        "",
        f"The data are not in this folder: they are snapshot `{parts[0]['name']}` of `{source}` ({known['engine']} "
        f"{manifest['database']['engineVersion']}), which AWS keeps. It holds every write up to "
        f"{manifest['snapshotTime']}.",
        *copies,
        "",
        "Needed: `aws`, with a login that may `rds:RestoreDB*`, `rds:CreateDBInstance`, `rds:Describe*` and "
        "`rds:AddTagsToResource` there. `NEW` is the name of the instance that is made; groups and class are those of "
        "the day of the backup, and may be others.",
        "",
        *_bash(
            "set -euo pipefail",
            f"export AWS_DEFAULT_REGION={shlex.quote(parts[0]['region'])}",
            *at,
            'NEW="${NEW:-restored}"',
            f'CLASS="${{CLASS:-{known.get("class", "")}}}"',
        ),
    ]


def _make(part: Mapping[str, Any], known: Mapping[str, Any], *, clustered: bool) -> list[str]:
    snapshot = shlex.quote(part["name"])
    where = [
        *([f"--db-subnet-group-name {shlex.quote(known['subnetGroup'])}"] if known.get("subnetGroup") else []),
        *(
            ["--vpc-security-group-ids " + " ".join(map(shlex.quote, known["securityGroups"]))]
            if known["securityGroups"]
            else []
        ),
    ]
    group = known.get("parameterGroup")
    if not clustered:
        parameters = [f"--db-parameter-group-name {shlex.quote(group)}"] if group else []
        return _bash(
            _line("aws rds restore-db-instance-from-db-snapshot", '--db-instance-identifier "$NEW"',
                  f"--db-snapshot-identifier {snapshot}", '--db-instance-class "$CLASS"', *where, *parameters),
            'aws rds wait db-instance-available --db-instance-identifier "$NEW"',
        )  # fmt: skip
    parameters = [f"--db-cluster-parameter-group-name {shlex.quote(group)}"] if group else []
    engine = f"--engine {shlex.quote(known['engine'])}"
    return _bash(
        _line("aws rds restore-db-cluster-from-snapshot", '--db-cluster-identifier "$NEW"',
              f"--snapshot-identifier {snapshot}", engine, *where, *parameters),
        'aws rds wait db-cluster-available --db-cluster-identifier "$NEW"',
        _line("aws rds create-db-instance", '--db-instance-identifier "$NEW"', '--db-cluster-identifier "$NEW"', engine,
              '--db-instance-class "$CLASS"'),
        'aws rds wait db-instance-available --db-instance-identifier "$NEW"',
    )  # fmt: skip


def _after(known: Mapping[str, Any]) -> list[str]:
    return [
        "",
        "It answers at:",
        "",
        *_bash(
            _line(
                "aws rds describe-db-instances", '--db-instance-identifier "$NEW"',
                "--query 'DBInstances[0].[Endpoint.Address,Endpoint.Port]'", "--output text",
            )
        ),
        "",
        "It has the accounts, passwords, jobs and subscriptions of the day of the backup: before you let anything near "
        "it, stop what must not run twice (`pg_cron`, subscriptions, events). The first read of each block comes from "
        "S3, and is slow: read what must be fast before it is needed.",
        *(["", _STANDBY] if known["multiAZ"] else []),
    ]  # fmt: skip


def _line(*words: str) -> str:
    return " \\\n  ".join(words)


def _bash(*commands: str) -> list[str]:
    return ["```bash", *commands, "```"]
