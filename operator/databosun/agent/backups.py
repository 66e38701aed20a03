"""The backup to be read back, with the chain that it stands on: manifests are verified before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from databosun.agent.chain import Member, fetch_chain
from databosun.agent.context import Context
from databosun.agent.fetch import ChainSource, FetchLane
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import ParentBackup
from databosun.api.restoretasks import BackupRef
from databosun.domain.errors import SafetyStop, UserFault
from databosun.storage.manifest import MAX_MANIFEST_BYTES, demand_signature
from databosun.storage.names import artefact_name

IDENTITY = "age-"
IDENTITY_FILE = "identity"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backup and its chain, base first, itself last."""

    members: tuple[Member, ...]

    @property
    def last(self) -> Member:
        """The backup itself."""
        return self.members[-1]


def choose(ctx: Context, ref: BackupRef) -> Chosen:
    """Read and verify the manifests: digest from the request, digests of parents from their children, signatures.

    SafetyStop(ManifestForged, SignatureInvalid, ManifestInvalid, ForeignBackup); UserFault(BackupMissing).
    """
    wanted = ParentBackup(
        id=ref.id, attempt=ref.attempt, manifest_sha256=ref.manifest_sha256, chain_length=0, base=ref.id
    )
    try:
        members = fetch_chain(ctx, ref.database, wanted)
    except UserFault as error:
        if error.reason != AgentReason.PARENT_MISSING:
            raise
        message = (
            f"backup {ref.id} cannot be read back: {error.message.replace(_STOOD, 'which was asked for or stood on')}"
        )
        raise UserFault(AgentReason.BACKUP_MISSING, message) from error
    if ctx.public_key is not None:
        for member in members:
            data = ctx.store.get(member.folder.manifest, limit=MAX_MANIFEST_BYTES)
            demand_signature(data, ctx.public_key, f"{member.folder.manifest} in {ctx.store.describe()}")
    for member in members:
        _demand_plain_names(member)
    return Chosen(members)


_STOOD = "which this one was to stand on"


def source_of(ctx: Context, chosen: Chosen) -> ChainSource:
    """Where the engine reads the artefacts."""
    lane = FetchLane(ctx.store, identities_of(ctx), ctx.children, ctx.stop, ctx.progress)
    return ChainSource(lane, chosen.members)


def identities_of(ctx: Context) -> tuple[Path, ...]:
    """The age identities that the request mounts, `age-0` first."""
    uses = sorted(use.use for use in ctx.request.secrets if use.use.startswith(IDENTITY))
    return tuple(path for use in uses if (path := ctx.secrets.path(use, IDENTITY_FILE)))


def _demand_plain_names(member: Member) -> None:
    """Names become paths on scratch; a manifest that is believed must still name nothing outside of it."""
    try:
        for artefact in member.manifest.artefacts:
            artefact_name(artefact.name)
            for part in artefact.parts:
                artefact_name(part.name)
    except ValueError as error:
        message = f"{member.folder.manifest}: {error}"
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message) from error
