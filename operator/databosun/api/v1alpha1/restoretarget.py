"""Where a Restore restores to: a volume, the server of a Database, or one that no Database names."""

from __future__ import annotations

from pydantic import Field

from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.database import Connection, CredentialsRef
from databosun.api.v1alpha1.fields import Name
from databosun.api.v1alpha1.schema import cel, rules

TARGET_NAME = (
    "(has(self.target.volume) ? self.target.volume.claimName : has(self.target.databaseRef) ?"
    " self.target.databaseRef.name : has(self.target.connection.host) ? self.target.connection.host :"
    " self.target.connection.hosts[0])"
)
"""The name that `confirm` repeats."""


class VolumeTarget(Model):
    """A claim of the same namespace that takes the data directory."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim.")


class RestoreTarget(Model):
    """Where it is restored to."""

    model_config = rules(
        cel(
            "(has(self.volume) ? 1 : 0) + (has(self.databaseRef) ? 1 : 0) + (has(self.connection) ? 1 : 0) == 1",
            "exactly one of volume, databaseRef and connection is required",
        ),
        cel(
            "!has(self.credentialsSecretRef) || has(self.databaseRef)",
            "credentialsSecretRef goes with databaseRef; a connection has credentials of its own",
        ),
    )
    volume: VolumeTarget | None = Field(
        default=None,
        description="A volume that takes a recovered, promoted, cleanly stopped data directory, to be handed to a"
        " server; the steps stand in status.handOver. Exactly one of volume, databaseRef and connection.",
    )
    database_ref: LocalRef | None = Field(
        default=None,
        description="The running server of this Database, the source itself (in place) or another one: each database is"
        " restored beside what is there, checked, and renamed into its place in the end. Its role must be allowed to"
        " create databases.",
    )
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None,
        description="Log in to the Database of databaseRef with this Secret instead of its own: the role that takes"
        " backups seldom may create databases.",
    )
    connection: Connection | None = Field(
        default=None, description="The same for a running server that has no Database object."
    )

    @property
    def named(self) -> str:
        """What `confirm` repeats."""
        if self.volume is not None:
            return self.volume.claim_name
        if self.database_ref is not None:
            return self.database_ref.name
        connection = self.connection
        return (connection.host or (connection.hosts or [""])[0]) if connection else ""
