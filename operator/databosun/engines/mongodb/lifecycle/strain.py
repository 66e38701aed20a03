"""How far the members of a replica set are behind, as its primary knows it."""

from __future__ import annotations

from datetime import datetime

from pymongo.errors import OperationFailure

from databosun.engines.lifecycle import Strain
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.faults import GRANT

_ADVICE = f"{GRANT.format(user='…', role='clusterMonitor')} lets the login see it"


def read_strain(client: Client) -> Strain:
    """The longest lag of those that answer and hold data. Hidden members are not counted: their delay may be meant."""
    hello = client.admin.command("hello")
    others = {str(name) for name in (*(hello.get("hosts") or ()), *(hello.get("passives") or ()))} - {hello.get("me")}
    if not hello.get("me") or not others:  # it stands alone
        return Strain()
    try:
        members = client.admin.command("replSetGetStatus")["members"]
    except OperationFailure:
        return Strain(0.0, len(others), len(others), _ADVICE)
    newest = next((one["optimeDate"] for one in members if one.get("stateStr") == "PRIMARY"), None)
    lags = [
        (newest - one["optimeDate"]).total_seconds()
        for one in members
        if one.get("name") in others and one.get("stateStr") == "SECONDARY" and isinstance(newest, datetime)
    ]
    return Strain(max(0.0, *lags, 0.0), len(others), len(others) - len(lags), "see rs.status(): not all members follow")
