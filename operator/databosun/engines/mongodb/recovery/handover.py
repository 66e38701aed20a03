"""What to do with a restored volume."""

from __future__ import annotations

from databosun.engines.mongodb.recovery.facts import Backup


def hand_over_steps(backup: Backup, data: str) -> list[str]:
    """Sentences, in order. The volume is stopped cleanly."""
    users = (
        "Users and roles are those of the backup, with their passwords."
        if backup.users
        else "The backup holds no users: create them before you demand logins."
    )
    name = backup.replica_set or "NAME"
    return [
        f"The folder {data} is a data directory of {backup.label}, stopped cleanly, of a server that stands alone; "
        "start it with a server of that release series.",
        users,
        f"StatefulSet: scale it to 0, name this claim as the data volume of its first member (or copy the folder into "
        f"the claim it has), have storage.dbPath be the folder {data}, give the files to the uid of the server, leave "
        "the claims of the other members empty, scale it to 1.",
        f"Replica set: start that member with replSetName {name} and run rs.initiate(); the others, with empty "
        "volumes, are added with rs.add() and copy from it.",
        "Documents with a time to live that has passed since the backup go as soon as the server runs.",
        "Take a full backup at once: the oplog begins anew.",
    ]
