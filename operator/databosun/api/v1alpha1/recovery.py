"""What a Database's status says of its log: what could be restored, and how its archiver fares."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Identifier, Message, Time
from databosun.api.v1alpha1.schema import UNIQUE, WHOLE


class Gap(Model):
    """A stretch of time that no restore can end in: its log is in no store."""

    begin: Time | None = Field(default=None, alias="from", description="Recoverable up to here; absent: not known.")
    end: Time = Field(alias="to", description="A backup that began after this does not need the gap.")
    reason: Identifier = Field(description="Why the log was lost.")
    position: Identifier = Field(description="The first position that is missing, with its timeline.")
    resume: Identifier = Field(description="The first position behind the gap.")


class Recovery(Model):
    """What could be restored now, from storage alone."""

    earliest: Time | None = Field(default=None, description="The oldest instant that can be restored.")
    archived_until: Time | None = Field(
        default=None,
        description="Backups up to this instant may lie in an archive class of the bucket, where a LifecyclePolicy"
        " moves them: they can be restored only after a thaw of hours, whatever the estimate says.",
    )
    earliest_at_once: Time | None = Field(
        default=None,
        description="Where backups lie in an archive class: the oldest instant that can be restored without a thaw.",
    )
    latest: Time | None = Field(
        default=None, description="The newest instant provably restorable; its age is the RPO as it stands."
    )
    continuous: bool = Field(
        default=False,
        description="True: any instant from continuousFrom to latest, gaps apart; false: those of the backups.",
    )
    continuous_from: Time | None = Field(
        default=None, description="Where the unbroken log begins: the oldest backup that it can be replayed onto."
    )
    gaps: Annotated[list[Gap], Field(max_length=50), WHOLE] = Field(
        default_factory=list, description="Stretches of time that cannot be restored to; the newest 50."
    )
    backups: int = Field(default=0, description="Successful backups that stand behind this.")


class ManagedRecovery(Model):
    """A cloud's own backups of the server and its log, as it told them at the last look."""

    earliest: Time | None = Field(default=None, description="The oldest instant that the cloud can restore.")
    latest: Time | None = Field(default=None, description="The newest instant that the cloud can restore.")
    retention_days: int = Field(default=0, description="How long the cloud keeps them; 0: it keeps none.")
    multi_az: bool = Field(default=False, description="Whether a standby stands in another zone.")
    encrypted: bool = Field(default=False, description="Whether the storage is encrypted.")
    missing: Annotated[list[Identifier], Field(max_length=50), UNIQUE] = Field(
        default_factory=list, description="Backups whose snapshots are no more there; the first 50."
    )


class Trouble(Model):
    """What keeps an archiver from being up to date."""

    reason: Identifier = Field(description="Why, in one word.")
    message: Message = Field(description="What was found, and what to do.")
    since: Time | None = Field(default=None, description="Since when.")


class LogExpiry(Model):
    """The part of the log that goes next, shown before it goes."""

    base: Identifier = Field(description="The Backup that the kept log begins with; all before it goes.")
    before: Time = Field(description="No instant before this one is recoverable by the log any more, once it is gone.")
    since: Time = Field(description="Since when this has been shown; it is carried out after retention.grace.")
    hash: Identifier | None = Field(
        default=None, description="Identifies the plan; an Approval names it where the breaker has tripped."
    )
    stopped: Message | None = Field(
        default=None, description="Why it waits for an Approval, however long; absent: nothing stops it."
    )


class Archiver(Model):
    """The archiver that ships this server's log, as it was seen last; absent while there is none."""

    name: Identifier = Field(description="Name of its Deployment.")
    system_identifier: Identifier = Field(description="The server whose log it is.")
    policy: Identifier = Field(description="The BackupPolicy that asks for it.")
    policy_uid: Identifier = Field(description="Its uid.")
    storage: Identifier = Field(description="The BackupStorage that takes the log.")
    hosts: Annotated[list[Identifier], Field(max_length=16), UNIQUE] = Field(
        default_factory=list, description="Where the replication slot stands."
    )
    port: int = Field(description="The port there.")
    started: Time = Field(description="When the archiver was first asked for.")
    slot: Identifier | None = Field(default=None, description="The replication slot that it holds.")
    host: Identifier | None = Field(default=None, description="The server that it streams from.")
    log_begin: Identifier | None = Field(
        default=None,
        description="A backup that starts at this position or later can be replayed forward by the log, gaps apart.",
    )
    recoverable_at: Time | None = Field(
        default=None, description="The newest instant, by the server's clock, all of whose commits are in the store."
    )
    position: Identifier | None = Field(default=None, description="The end of what is in the store.")
    timeline: int | None = Field(default=None, description="The timeline of that position.")
    lag_seconds: int | None = Field(default=None, description="How old recoverableAt was when this was written.")
    behind_bytes: int | None = Field(default=None, description="Written by the server and not yet in the store.")
    retained_bytes: int | None = Field(default=None, description="Log that the server keeps for the archiver.")
    diverged_bytes: int | None = Field(
        default=None,
        description="After a promotion: what the old primary had written, and the store has, beyond the point at which"
        " the new one left it. No restore along the new timeline holds it; the old timeline in the store does.",
    )
    gaps: int = Field(default=0, description="Gaps on record in the store.")
    trouble: Trouble | None = Field(default=None, description="What keeps it from being up to date.")
    log_base: Identifier | None = Field(default=None, description="The Backup that the log in the store begins with.")
    log_expired: Time | None = Field(default=None, description="When a part of the log was deleted last.")
    expiring: LogExpiry | None = Field(default=None, description="The part of the log that goes next.")


class LogPreflight(Model):
    """The last look at what archiving the log needs of the server."""

    allow_unbounded_slot: bool = Field(default=False, description="Whether a slot without a limit was accepted.")
    blocked: Trouble | None = Field(default=None, description="What is in the way; absent: nothing.")
