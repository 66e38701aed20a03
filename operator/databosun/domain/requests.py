"""From the specs of our kinds to an agent's request: targets without secrets, and which Secrets to mount where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from databosun.api.quantities import parse_duration
from databosun.api.request import EVIDENCE, DatabaseTarget, Immutable, S3Target, SecretUse, StorageTarget
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec
from databosun.api.v1alpha1.database import DatabaseSpec, TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault

IDENTITY = "age-"
"""What the uses of age identities begin with."""


@dataclass(frozen=True, slots=True)
class Named:
    """Namespace, name and uid of an object."""

    namespace: str
    name: str
    uid: str


def database_target(
    ref: Named, spec: DatabaseSpec, default_port: int, version: str | None
) -> tuple[DatabaseTarget, list[SecretUse]]:
    """The database as the agent sees it, and its Secrets. UserFault(InvalidSpec) where the connection is not said."""
    connection = spec.connection
    if connection is None:
        raise UserFault(Reason.INVALID_SPEC, f"spec.connection is missing; engine {spec.engine} needs it")
    hosts = list(connection.hosts or ([connection.host] if connection.host else []))
    if not hosts:
        raise UserFault(Reason.INVALID_SPEC, "spec.connection names no host; expected exactly one of host and hosts")
    tls = connection.tls
    credentials = connection.credentials_secret_ref
    secrets = [
        SecretUse(
            use="database",
            secret=credentials.name,
            keys={"username": credentials.username_key, "password": credentials.password_key},
        )
    ]
    if tls and tls.ca_secret_ref:
        secrets.append(
            SecretUse(use="database-ca", secret=tls.ca_secret_ref.name, keys={"ca.crt": tls.ca_secret_ref.key})
        )
    if tls and tls.client_cert_secret_ref:
        keys = {"tls.crt": "tls.crt", "tls.key": "tls.key"}
        secrets.append(SecretUse(use="database-client", secret=tls.client_cert_secret_ref.name, keys=keys))
    target = DatabaseTarget(
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        engine=spec.engine,
        hosts=hosts,
        port=connection.port or default_port,
        database=connection.database,
        tls=tls.mode if tls else TLSMode.REQUIRE,
        version=version or spec.version,
        environment=spec.environment,
    )
    return target, secrets


def storage_target(ref: Named, spec: BackupStorageSpec, cluster_id: str) -> tuple[StorageTarget, list[SecretUse]]:
    """The store as the agent sees it, and its Secrets (never an age identity: those are for restores alone)."""
    secrets: list[SecretUse] = []
    s3 = None
    if spec.s3 is not None:
        s3 = S3Target(
            endpoint=spec.s3.endpoint,
            bucket=spec.s3.bucket,
            region=spec.s3.region,
            force_path_style=spec.s3.force_path_style,
            has_credentials=spec.s3.credentials_secret_ref is not None,
        )
        if spec.s3.credentials_secret_ref is not None:
            keys = {"accessKeyId": "accessKeyId", "secretAccessKey": "secretAccessKey"}
            secrets.append(SecretUse(use="storage", secret=spec.s3.credentials_secret_ref.name, keys=keys))
        if spec.s3.ca_secret_ref is not None:
            secrets.append(
                SecretUse(
                    use="storage-ca", secret=spec.s3.ca_secret_ref.name, keys={"ca.crt": spec.s3.ca_secret_ref.key}
                )
            )
    if spec.signing is not None:
        secrets.append(
            SecretUse(
                use="signing", secret=spec.signing.key_secret_ref.name, keys={"key": spec.signing.key_secret_ref.key}
            )
        )
    target = StorageTarget(
        namespace=ref.namespace,
        name=ref.name,
        cluster_id=cluster_id,
        prefix=(spec.s3.prefix or "") if spec.s3 else "",
        s3=s3,
        volume_path=spec.volume.path if spec.volume else None,
        age_recipients=list(spec.encryption.age.recipients) if spec.encryption else [],
        signed=spec.signing is not None,
        public_key=spec.signing.public_key if spec.signing else None,
        immutable=_immutable(spec),
        adopt_from=spec.adopt_from,
    )
    return target, secrets


def for_evidence(secrets: Iterable[SecretUse]) -> list[SecretUse]:
    """The Secrets of a storage, mounted beside those of the one that is read from."""
    return [use.model_copy(update={"use": f"{EVIDENCE}{use.use}"}) for use in secrets]


def identity_secrets(spec: BackupStorageSpec) -> list[SecretUse]:
    """The Secrets with the age identities; for restores and drills alone."""
    refs = spec.encryption.age.identity_secret_refs if spec.encryption else []
    return [
        SecretUse(use=f"{IDENTITY}{number}", secret=ref.name, keys={"identity": ref.key})
        for number, ref in enumerate(refs)
    ]


def _immutable(spec: BackupStorageSpec) -> Immutable | None:
    if spec.immutability is None:
        return None
    seconds = int(parse_duration(spec.immutability.retention).total_seconds())
    return Immutable(mode=spec.immutability.mode, seconds=seconds)
