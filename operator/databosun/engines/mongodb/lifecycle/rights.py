"""What a rule's action needs and the login has not been granted, as the command that grants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databosun.api.lifecycle import ActionType, RuleOrder
from databosun.domain.lifecycle import DELETING
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.lifecycle.statements import Place

_NEEDS = frozenset({"find", "listIndexes", "collStats"})
_GRANT = 'db.getSiblingDB("admin").grantRolesToUser("{user}", [{{role: "{role}", db: "{database}"}}])'


def lacking(client: Client, place: Place, rule: RuleOrder, *, changes: bool = False) -> list[str]:
    """`changes`: an index of ours is there, and is to be another. Empty where nothing is lacking, or where the server
    tells no privileges."""
    said = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    users = said.get("authenticatedUsers") or []
    known = said.get("authenticatedUserPrivileges")
    if not users or known is None:  # nobody has to log in, or the server does not tell
        return []
    granted = {str(action) for one in known if _covers(one.get("resource") or {}, place) for action in one["actions"]}
    roles = [
        *(["readWrite"] if not _needed(rule) <= granted else []),
        *(["dbAdmin"] if changes and "collMod" not in granted else []),
    ]
    return [_GRANT.format(user=users[0].get("user"), role=role, database=place.database) for role in roles]


def _needed(rule: RuleOrder) -> frozenset[str]:
    if rule.action in DELETING:
        return _NEEDS | {"remove"}
    return _NEEDS | ({"update"} if rule.action is ActionType.ANONYMIZE else {"createIndex"})


def _covers(resource: Mapping[str, Any], place: Place) -> bool:
    if resource.get("anyResource"):
        return True
    if "db" not in resource:
        return False
    return resource["db"] in ("", place.database) and resource.get("collection") in ("", place.name)
