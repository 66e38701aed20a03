"""What to do with a restored volume."""

from __future__ import annotations

from databosun.engines.postgresql.recovery.facts import Backup
from databosun.engines.postgresql.recovery.place import AUTO_CONF, SAVED


def hand_over_steps(backup: Backup, data: str) -> list[str]:
    """Sentences, in order. The volume is stopped cleanly, on a timeline of its own."""
    steps = [
        f"The folder {data} is a data directory of PostgreSQL {backup.major}, promoted and stopped cleanly; only a "
        f"server of major version {backup.major} starts from it.",
        f"Settings made with ALTER SYSTEM were put aside as {data}/{AUTO_CONF}{SAVED}: bring back what you want, and "
        "leave out restore_command, primary_conninfo and archive_command.",
        f"Look at archive_mode and archive_command in {data}/postgresql.conf before the first start: a restored server "
        "must not write into the archive of the old one.",
    ]
    if backup.tablespaces:
        steps.append(
            f"Tablespaces lie in tablespaces/ beside {data} and are linked relative to it: mount the volume so "
            "that both stay side by side."
        )
    return [
        *steps,
        "StatefulSet: scale it to 0, name this claim as its data volume (or copy the folder into the claim it has), "
        f"set PGDATA to the folder {data}, give the files to the uid of the server, scale it to 1.",
        "CloudNativePG: hibernate a Cluster of one instance and of this major version, put the folder in the place of "
        "pgdata in its volume, give it to uid 26, wake the Cluster, then add instances.",
        "Replication slots and subscriptions of the original are not active: create slots anew, and enable a "
        "subscription only where the original is gone, or it would take its place at the publisher.",
        "Unlogged tables are empty. Take a full backup at once: the restored server is on a new timeline.",
    ]
