"""Manual snapshots of an instance or a cluster: made under a name that follows from the run, waited for, let go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from databosun.api.v1alpha1.backup import HeldPart
from databosun.domain.errors import DatabosunError, SafetyStop, WorldFault
from databosun.engines.managed import Visit
from databosun.engines.rds.cloud import AnswerError, Cloud
from databosun.engines.rds.marks import Owner
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.server import AVAILABLE, Server
from databosun.engines.rds.waiting import Patience

INSTANCE, CLUSTER = "rds:snapshot", "rds:cluster-snapshot"
MANUAL = "manual"
_BROKEN = frozenset({"failed", "incompatible-restore", "incompatible-parameters"})


# AWS's own have a colon in their names.
_ARN = re.compile(r"^arn:.*?:(cluster-)?snapshot:")


@dataclass(frozen=True, slots=True)
class Kind:
    """The calls for one kind of snapshot."""

    held: str
    noun: str
    answer: str
    listing: str
    id: str

    def key(self, said: Mapping[str, Any]) -> str:
        """Its name."""
        return str(said[self.id])

    def arn(self, said: Mapping[str, Any]) -> str:
        """Its ARN."""
        return str(said[self.id.replace("Identifier", "Arn")])


OF_INSTANCE = Kind(INSTANCE, "db_snapshot", "DBSnapshot", "DBSnapshots", "DBSnapshotIdentifier")
OF_CLUSTER = Kind(
    CLUSTER, "db_cluster_snapshot", "DBClusterSnapshot", "DBClusterSnapshots", "DBClusterSnapshotIdentifier"
)


def kind_of(held: str) -> Kind:
    """The kind of a part that a manifest names."""
    return OF_CLUSTER if held == CLUSTER else OF_INSTANCE


def name_of(arn: str) -> str:
    """The name in an ARN; a name is its own."""
    return _ARN.sub("", arn)


def find(cloud: Cloud, kind: Kind, name: str) -> Mapping[str, Any] | None:
    """A snapshot of this account by name or ARN; None where there is none."""
    try:
        found = cloud.ask(f"describe_{kind.noun}s", **{kind.id: name_of(name)}).get(kind.listing, ())
    except AnswerError as error:
        if error.missing:
            return None
        raise
    return found[0] if found else None


def make(
    cloud: Cloud, server: Server, visit: Visit, patience: Patience, told: Callable[[str], None]
) -> Mapping[str, Any]:
    """The snapshot of this run, available: the one that an attempt before began is waited for, never made twice.

    SafetyStop(ForeignSnapshot) where one of that name is not ours; WorldFault(SnapshotFailed).
    """
    kind = OF_CLUSTER if server.clustered else OF_INSTANCE
    owner, name = Owner.of(visit), Owner.of(visit).snapshot(visit.run)
    source = "DBClusterIdentifier" if server.clustered else "DBInstanceIdentifier"

    def begin() -> None:
        cloud.ask(f"create_{kind.noun}", **{kind.id: name, source: server.name, "Tags": owner.tags(visit)})

    return _available(_Order(cloud, kind, name, visit), begin, patience, told)


def copy(
    cloud: Cloud,
    made: Mapping[str, Any],
    kind: Kind,
    visit: Visit,
    source_region: str,
    kms_key: str | None,
    patience: Patience,
    told: Callable[[str], None],
) -> Mapping[str, Any]:
    """The same snapshot in the region of `cloud`, available."""
    owner, name = Owner.of(visit), Owner.of(visit).snapshot(visit.run)

    def begin() -> None:
        given: dict[str, Any] = {
            f"Source{kind.id}": kind.arn(made),
            f"Target{kind.id}": name,
            "SourceRegion": source_region,
            "Tags": owner.tags(visit),
        }
        cloud.ask(f"copy_{kind.noun}", **given, **({"KmsKeyId": kms_key} if kms_key else {}))

    return _available(_Order(cloud, kind, name, visit), begin, patience, told)


@dataclass(frozen=True, slots=True)
class _Order:
    cloud: Cloud
    kind: Kind
    name: str
    visit: Visit

    def found(self) -> Mapping[str, Any] | None:
        """What is there under that name; ours, or nothing."""
        found = find(self.cloud, self.kind, self.name)
        if found is not None and not Owner.of(self.visit).owns(found, self.visit.run):
            message = (
                f"snapshot {self.name} in {self.cloud.region} exists, and its tags are not of run {self.visit.run}; "
                "nothing was touched: find out who made or retagged it"
            )
            raise SafetyStop(Reason.FOREIGN_SNAPSHOT, message)
        return found


def _available(
    order: _Order, begin: Callable[[], None], patience: Patience, told: Callable[[str], None]
) -> Mapping[str, Any]:
    cloud = order.cloud
    doing = f"taking snapshot {order.name}"
    try:
        found = order.found()
        if found is not None and found.get("Status") in _BROKEN:
            cloud.ask(f"delete_{order.kind.noun}", **{order.kind.id: order.name})
            patience.wait(f"failed snapshot {order.name} to go", lambda: True if order.found() is None else None)
            found = None
        if found is None:
            patience.wait(f"{doing} to begin", lambda: _begin(begin, told))
        return patience.wait(f"snapshot {order.name}", lambda: _look(order, told))
    except AnswerError as error:
        raise cloud.fault(error, doing) from error


def _begin(begin: Callable[[], None], told: Callable[[str], None]) -> bool | None:
    """Ask for it; None while the instance is busy with something else, such as AWS's own backup."""
    try:
        begin()
    except AnswerError as error:
        if error.wrong_state:
            told("waiting: the instance is busy")
            return None
        if not error.exists:  # a lost answer makes the client ask twice
            raise
    return True


def _look(order: _Order, told: Callable[[str], None]) -> Mapping[str, Any] | None:
    found = order.found()
    if found is None:
        told("snapshot asked for")
        return None
    status = str(found.get("Status"))
    if status in _BROKEN:
        message = f"AWS says that snapshot {order.name} is {status}; the next attempt deletes it and takes another"
        raise WorldFault(Reason.SNAPSHOT_FAILED, message)
    told(f"snapshot {status}, {found.get('PercentProgress', 0)} %")
    return found if status == AVAILABLE else None


def refusal(cloud: Cloud, part: HeldPart, owner: Owner, run: str) -> str | None:
    """Why a snapshot must stay: it is not a manual one of ours. None: it is ours, or gone."""
    try:
        found = find(cloud, kind_of(part.kind), part.name)
    except AnswerError as error:
        return _why(cloud.fault(error, f"looking at snapshot {part.name}"))
    if found is None:
        return None
    if found.get("SnapshotType") != MANUAL:
        return f"snapshot {part.name} is {found.get('SnapshotType')}, not manual: AWS keeps it, Databosun never made it"
    if not owner.owns(found, run):
        return f"snapshot {part.name} does not carry the tags of run {run}: somebody made or retagged it; it stays"
    return None


def release(cloud: Cloud, part: HeldPart, patience: Patience) -> None:
    """Delete one snapshot, and wait until it is gone. Harmless where it is."""
    kind = kind_of(part.kind)
    try:
        name = find(cloud, kind, part.name)
        if name is None:
            return
        try:
            cloud.ask(f"delete_{kind.noun}", **{kind.id: kind.key(name)})
        except AnswerError as error:
            if not error.missing:
                raise
        patience.wait(f"snapshot {part.name} to go", lambda: True if find(cloud, kind, part.name) is None else None)
    except AnswerError as error:
        raise cloud.fault(error, f"deleting snapshot {part.name}") from error


def _why(fault: DatabosunError) -> str:
    return f"{fault.reason}: {fault.message}"
