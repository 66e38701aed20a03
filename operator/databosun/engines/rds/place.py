"""Where a drill makes its temporary instance: named by the user, looked at before anything is made.

A restored copy has production's data, jobs, subscriptions and passwords. So nothing of production's surroundings is
taken over by itself: the parameter group must keep silent what acts by itself, and no security group may be its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from databosun.api.targets import DrillPlace, RDSTarget
from databosun.domain.errors import UserFault
from databosun.engines.rds.cloud import Cloud
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.server import Server

# What must be said, and which values keep it silent; by the kind of group that can say it.
_POSTGRESQL = {"max_logical_replication_workers": ("0",)}
_MYSQL = {"event_scheduler": ("OFF", "0", "DISABLED")}
_PRELOAD, _CRON = "shared_preload_libraries", "pg_cron"


def demand_place(cloud: Cloud, server: Server, rds: RDSTarget) -> DrillPlace:
    """The place, looked at. UserFault(DrillPlaceMissing, DrillPlaceUnsafe)."""
    if rds.drill is None:
        message = (
            "spec.rds.drill of the Database is missing: a drill makes a temporary instance, and its parameter group, "
            "subnet group and security groups must be named"
        )
        raise UserFault(Reason.DRILL_PLACE_MISSING, message)
    examine_place(cloud, server, rds)
    return rds.drill


def examine_place(cloud: Cloud, server: Server, rds: RDSTarget) -> None:
    """Refuse what would let a copy act, or reach what production reaches."""
    place = rds.drill
    if place is None:
        return
    shared = sorted(server.security_groups & set(place.security_group_ids))
    if shared:
        message = (
            f"security group {shared[0]} of spec.rds.drill is production's own; a copy there would reach what it "
            "reaches: name one that lets the drill's pod in and nothing out"
        )
        raise UserFault(Reason.DRILL_PLACE_UNSAFE, message)
    group, action, key = place.parameter_group, "describe_db_parameters", "DBParameterGroupName"
    if server.clustered and place.cluster_parameter_group:
        group, key = place.cluster_parameter_group, "DBClusterParameterGroupName"
        action = "describe_db_cluster_parameters"
    known = _values(cloud.pages(action, "Parameters", **{key: group}))
    _demand_silent(group, known, rds)
    found = cloud.ask("describe_db_subnet_groups", DBSubnetGroupName=place.subnet_group)
    if not found.get("DBSubnetGroups"):
        message = f"subnet group {place.subnet_group} of spec.rds.drill does not exist in {cloud.region}"
        raise UserFault(Reason.DRILL_PLACE_MISSING, message)


def _values(said: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {str(one["ParameterName"]): str(one.get("ParameterValue") or "") for one in said}


def _demand_silent(group: str, known: Mapping[str, str], rds: RDSTarget) -> None:
    wanted = _POSTGRESQL if rds.engine == "PostgreSQL" else _MYSQL
    for name, allowed in wanted.items():
        if known.get(name, "").upper() not in allowed:
            message = (
                f"parameter group {group} of spec.rds.drill has {name} = {known.get(name) or 'not set'}; a copy must "
                f"not act by itself: set it to {allowed[0]}"
            )
            raise UserFault(Reason.DRILL_PLACE_UNSAFE, message)
    if _CRON in known.get(_PRELOAD, ""):
        message = (
            f"parameter group {group} of spec.rds.drill preloads {_CRON}, whose jobs a copy would run on what it "
            f"holds; take it out of {_PRELOAD}"
        )
        raise UserFault(Reason.DRILL_PLACE_UNSAFE, message)
