"""RESTORE.md of a physical backup: unpack (and combine a chain), verify against the manifest, recover, promote."""

from __future__ import annotations

import re

from databosun.engines.postgresql.restore_doc_text import START, Facts, bash, one_line, paragraph, private_configuration

_TABLESPACE = re.compile(r"([0-9]+)\.tar\.zst")


def physical_steps(facts: Facts) -> list[str]:
    """From archives to a promoted copy."""
    unpack = _combine(facts) if len(facts.chain) > 1 else _unpack_full(facts)
    return [*unpack, *_verify(), *_remap(facts), *_start(facts), *_check(facts)]


def _unpack_full(facts: Facts) -> list[str]:
    backup_id, artefacts = facts.chain[-1]
    return [
        "### Unpack",
        "",
        *_tablespace_paragraph(facts),
        *bash(*_unpack(backup_id, artefacts, '"$RESTORED"', '"$PWD/tablespaces')),
    ]


def _combine(facts: Facts) -> list[str]:
    """pg_combinebackup needs every member of the chain unpacked, and room for the result beside them."""
    lines = []
    inputs = []
    for backup_id, artefacts in facts.chain:
        lines += _unpack(backup_id, artefacts, f'"$PWD/chain/{backup_id}"', f'"$PWD/chain/{backup_id}.tablespaces')
        inputs.append(f'"$PWD/chain/{backup_id}"')
    last, artefacts = facts.chain[-1]
    mapping = [
        f'--tablespace-mapping="$PWD/chain/{last}.tablespaces/{oid}"="$PWD/tablespaces/{oid}"'
        for oid in _tablespaces(artefacts)
    ]
    making = (
        [f"mkdir -p {' '.join(f'{chr(34)}$PWD/tablespaces/{oid}{chr(34)}' for oid in _tablespaces(artefacts))}"]
        if mapping
        else []
    )
    return [
        "### Unpack the chain and combine it",
        "",
        *paragraph(
            f"An {facts.type.value.lower()} backup stands on {len(facts.chain) - 1} other(s): all are unpacked, "
            "oldest first, then "
            "`pg_combinebackup` makes one data directory of them. It needs free disk for all of them and the result."
        ),
        *_tablespace_paragraph(facts),
        *bash(*lines, *making, " ".join(["pg_combinebackup", *mapping, '--output="$RESTORED"', *inputs])),
        *paragraph("Once the copy is verified, `rm -rf chain` frees their disk."),
    ]


def _tablespace_paragraph(facts: Facts) -> list[str]:
    if not facts.tablespaces:
        return []
    listed = "; ".join(
        f"`{one_line(name)}` (oid {oid}, was at `{one_line(location)}`)" for oid, name, location in facts.tablespaces
    )
    return paragraph(
        f"Tablespaces are unpacked below `tablespaces/`, whichever place they had: {listed}. Put other paths where "
        "you want them."
    )


def _unpack(backup_id: str, artefacts: tuple[str, ...], to: str, tablespaces: str) -> list[str]:
    """Commands; `tablespaces` is an opened quote that a path is added to."""
    source = f'"$PWD/{backup_id}'
    lines = [f"mkdir -p {to}", f'zstd -dc {source}/base.tar.zst" | tar -x -p -C {to}']
    if "pg_wal.tar.zst" in artefacts:
        lines.append(f'zstd -dc {source}/pg_wal.tar.zst" | tar -x -p -C {to}/pg_wal')
    for oid in _tablespaces(artefacts):
        place = f'{tablespaces}/{oid}"'
        lines += [
            f"mkdir -p {place}",
            f'zstd -dc {source}/{oid}.tar.zst" | tar -x -p -C {place}',
            f"ln -s {place} {to}/pg_tblspc/{oid}",
        ]
    lines.append(f'cp {source}/backup_manifest" {to}/')
    return lines


def _tablespaces(artefacts: tuple[str, ...]) -> list[str]:
    return [match[1] for name in artefacts if (match := _TABLESPACE.fullmatch(name))]


def _verify() -> list[str]:
    return [
        "### Verify",
        "",
        *paragraph(
            "Every file is compared with the size and checksum that the server noted for it, and the WAL is read "
            "through."
        ),
        *bash('pg_verifybackup "$RESTORED"'),
    ]


def _remap(facts: Facts) -> list[str]:
    """The server makes the links anew from `tablespace_map` when it starts, so the map must name the new places."""
    oids = _tablespaces(facts.chain[-1][1])
    if not oids:
        return []
    commands = [f'sed -i "s|^{oid} .*|{oid} $PWD/tablespaces/{oid}|" "$RESTORED/tablespace_map"' for oid in oids]
    return [
        "### Name the new places of the tablespaces",
        "",
        *bash(
            'if test -e "$RESTORED/tablespace_map"; then',
            *[f"  {command}" for command in commands],
            '  cat "$RESTORED/tablespace_map"',
            "fi",
        ),
    ]


def _start(facts: Facts) -> list[str]:
    return [
        "### Recover",
        "",
        *paragraph(
            "The copy replays the WAL that is in the backup, becomes consistent, and begins a timeline of its own."
        ),
        *bash(
            'rm -f "$RESTORED/standby.signal"',
            'if test -e "$RESTORED/postgresql.auto.conf"; then mv "$RESTORED/postgresql.auto.conf" '
            '"$RESTORED/postgresql.auto.conf.saved"; fi',
            *private_configuration(
                facts.settings,
                facts.major,
                "shared_preload_libraries = ''",
                "restore_command = 'false'",
                "recovery_target_timeline = 'current'",
            ),
            'touch "$RESTORED/recovery.signal"',
            START,
            'until test "$(psql -X -A -t -c "SELECT pg_is_in_recovery()" postgres)" = f; do sleep 1; done',
        ),
        *(_preload_paragraph(facts)),
    ]


def _preload_paragraph(facts: Facts) -> list[str]:
    if not facts.preload:
        return []
    return paragraph(
        f"The original preloaded {', '.join(facts.preload)}. Where a table or an index needs one of them "
        "(TimescaleDB, for one), install it and "
        "name it in `shared_preload_libraries` above; leave schedulers out until the copy is in service."
    )


def _check(facts: Facts) -> list[str]:
    names = ", ".join(one_line(str(database["name"])) for database in facts.databases if not database.get("template"))
    return [
        "### Check",
        "",
        *paragraph(
            f"Expected databases: {names or 'see the list'}. Then the structure of every table and index, where "
            "`amcheck` is installed."
        ),
        *bash(
            'psql -X -c "SELECT datname, pg_size_pretty(pg_database_size(oid)) FROM pg_database ORDER BY 1" postgres',
            "if psql -X -A -t -c \"SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'\" postgres | grep -q "
            "1; then",
            "  pg_amcheck --all --install-missing",
            "fi",
        ),
    ]
