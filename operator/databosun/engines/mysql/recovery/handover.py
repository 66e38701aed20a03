"""What to do with a restored volume."""

from __future__ import annotations

from databosun.engines.mysql.recovery.facts import Backup


def hand_over_steps(backup: Backup, data: str) -> list[str]:
    """Sentences, in order. The volume is stopped cleanly."""
    speaks = backup.dialect
    series = ".".join(map(str, backup.series))
    settings = ", ".join(f"{name} = {value}" for name, value in backup.settings.items())
    accounts = (
        "Accounts, roles and passwords are those of the backup."
        if backup.accounts
        else "The backup holds one schema and no accounts: root has no password until you set one (over the socket)."
    )
    return [
        f"The folder {data} is a data directory of {speaks.name} {series}, stopped cleanly; start it with a server of "
        f"that series; {speaks.upgrade}.",
        f"The server's configuration must say, as the original's did: {settings}.",
        accounts,
        "StatefulSet: scale it to 0, name this claim as its data volume (or copy the folder into the claim it has), "
        f"have the server's datadir be the folder {data}, give the files to the uid of the server, scale it to 1.",
        "Where people were erased again (the check erasures), these are not the original's rows of that position: "
        "never let this server follow the original from there; build such a replica anew.",
        "Events are there and run once event_scheduler is ON: look at them before.",
        f"The binary log begins anew: give replicas a new start ({speaks.source} … with the position or GTID in "
        "the backup's status.position), and take a full backup at once.",
    ]
