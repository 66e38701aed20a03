"""The engine's part of RESTORE.md: commands for this very backup, from decrypted artefacts to a checked, running copy.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import RestoreDoc
from databosun.engines.postgresql.environment import recovery_settings
from databosun.engines.postgresql.restore_doc_logical import logical_steps
from databosun.engines.postgresql.restore_doc_physical import physical_steps
from databosun.engines.postgresql.restore_doc_text import Facts, bash, one_line, paragraph, word


def restore_markdown(doc: RestoreDoc) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    facts = read_facts(doc)
    steps = logical_steps if facts.method is Method.LOGICAL else physical_steps
    return "\n".join([*_before(facts), *steps(facts), *_after(facts)]) + "\n"


def read_facts(doc: RestoreDoc) -> Facts:
    """What the commands need, out of the manifests."""
    manifest = doc.manifest
    environment: Mapping[str, Any] = manifest.get("environment") or {}
    database: Mapping[str, Any] = manifest.get("database") or {}
    chain = [*doc.chain] or [manifest]
    if chain[-1].get("id") != manifest.get("id"):
        chain.append(manifest)
    version = str(database.get("engineVersion") or "")
    major = re.match(r"[0-9]+", version)
    return Facts(
        id=str(manifest["id"]),
        major=int(major[0]) if major else 0,
        version=version,
        type=BackupType(manifest["type"]),
        method=Method(manifest["method"]),
        chain=tuple((str(one["id"]), tuple(str(a["name"]) for a in one["artefacts"])) for one in chain),
        superuser=str(environment.get("bootstrapSuperuser") or "postgres"),
        tablespaces=tuple(
            (int(t["oid"]), str(t["name"]), str(t["location"])) for t in environment.get("tablespaces") or ()
        ),
        databases=tuple(environment.get("databases") or ()),
        settings=recovery_settings(environment),
        preload=environment.get("preload"),
        platform=str(environment.get("platform") or "unknown"),
        libc=environment.get("libc"),
        position=manifest.get("position") or {},
        snapshot_time=str(manifest.get("snapshotTime") or "unknown"),
    )


def _before(facts: Facts) -> list[str]:
    preload = "unknown (hidden from the backup role)" if facts.preload is None else ", ".join(facts.preload) or "none"
    return [
        f"## 5. Restore PostgreSQL {facts.major}",
        "",
        *paragraph(
            f"{facts.method.value} {facts.type.value} backup of PostgreSQL {facts.version} on {facts.platform}, "
            f"glibc {facts.libc or 'unknown'}, shared_preload_libraries: {preload}. It holds what was committed by "
            f"{facts.snapshot_time} "
            f"(log position {facts.position.get('lsn', 'unknown')}, timeline "
            f"{facts.position.get('timeline', 'unknown')})."
        ),
        *paragraph(
            f"Needed: the server and client programs of PostgreSQL {facts.major} (any minor version from "
            f"{facts.version} on), `tar` and `zstd`, "
            "and as much free disk as the data takes. Work as the user that shall own the server, never as root, in "
            "the folder that holds "
            f"`{facts.id}/`{' and the folders of its chain' if len(facts.chain) > 1 else ''}. Run the blocks in "
            "order, in one shell. "
            "The copy listens on a Unix socket in a private folder only, and talks to nobody until you put it into "
            "service."
        ),
        *bash(
            "set -euo pipefail",
            f'export PATH="${{POSTGRESQL_BIN:-/usr/lib/postgresql/{facts.major}/bin}}:$PATH"',
            "unset PGDATA PGPORT PGSERVICE PGPASSFILE PGOPTIONS PGHOSTADDR PGDATABASE",
            f'postgres --version | grep -F "(PostgreSQL) {facts.major}."',
            f'BACKUP="$PWD/{facts.id}" RESTORED="$PWD/restored"',
            'umask 077; PGHOST="$(mktemp -d)"; export PGHOST',
            f"export PGUSER={word(facts.superuser)}",
            'test ! -e "$RESTORED"',
        ),
    ]


def _after(facts: Facts) -> list[str]:
    return [
        "### Put it into service",
        "",
        *paragraph(
            f'The copy runs; look around with `psql -h "$PGHOST" -U {one_line(facts.superuser)} postgres`. Stop it '
            'with `pg_ctl -D "$RESTORED" stop`, '
            "move the data directory to its place, and start it with your own `postgresql.conf` and `pg_hba.conf`."
        ),
        *(_logical_after() if facts.method is Method.LOGICAL else _physical_after()),
    ]


def _logical_after() -> list[str]:
    return [
        "- Passwords are not in the backup: set each anew (`\\password ROLE`). Until then those roles cannot log in "
        "by password.",
        "- Subscriptions and foreign servers keep their connection strings; check them before they are enabled.",
        "- `template1` and server settings (`postgresql.conf`, `ALTER SYSTEM`) are not part of a logical backup.",
    ]


def _physical_after() -> list[str]:
    return [
        "- Passwords are those of the moment of the backup. Set new ones where the copy leaves its old surroundings.",
        "- Unlogged tables come back empty: that is how they work.",
        "- `postgresql.auto.conf` (from `ALTER SYSTEM`) was set aside as `postgresql.auto.conf.saved`; a server whose "
        "configuration files "
        "lie outside the data directory (Debian) never had them in the backup.",
        "- Before it may reach the network, look at subscriptions (`SELECT * FROM pg_subscription`), scheduled jobs "
        "and replication slots: "
        "they would act in the place of the original.",
        "- The copy is on a timeline of its own, so it cannot overwrite WAL that the original archived.",
    ]
