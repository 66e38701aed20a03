"""From the specs of our kinds to an agent's request: targets without secrets, and which Secrets to mount where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from databosun.api.quantities import parse_duration
from databosun.api.targets import (
    ERASURE,
    EVIDENCE,
    CopyTarget,
    DatabaseTarget,
    DrillPlace,
    Immutable,
    RDSTarget,
    S3Target,
    SecretUse,
    StorageTarget,
)
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec
from databosun.api.v1alpha1.database import Connection, DatabaseSpec, TLSMode
from databosun.api.v1alpha1.rdsinstance import RDSInstance
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault

IDENTITY = "age-"
"""What the uses of age identities begin with."""
_STORE = ("storage", "signing")
_CLOUD_KEYS = {"accessKeyId": "accessKeyId", "secretAccessKey": "secretAccessKey"}


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
    if connection is None and spec.rds is None:
        raise UserFault(Reason.INVALID_SPEC, f"spec.connection is missing; engine {spec.engine} needs it")
    target = DatabaseTarget(
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        engine=spec.engine,
        hosts=[],
        port=default_port,
        version=version or spec.version,
        environment=spec.environment,
        rds=_rds_target(spec.rds) if spec.rds is not None else None,
    )
    keys = spec.rds.credentials_secret_ref if spec.rds is not None else None
    secrets = [SecretUse(use="cloud", secret=keys.name, keys=_CLOUD_KEYS)] if keys is not None else []
    if connection is None:
        return target, secrets
    return _connected(target, connection, default_port), [*_login(connection), *secrets]


def _rds_target(rds: RDSInstance) -> RDSTarget:
    keys = rds.credentials_secret_ref
    if rds.copy_to is not None and rds.copy_to.region == rds.region:
        message = f"spec.rds.copyTo.region is {rds.region}, where the instance is; expected another region"
        raise UserFault(Reason.INVALID_SPEC, message)
    if rds.cluster is not None and rds.drill is not None and rds.drill.cluster_parameter_group is None:
        message = "spec.rds.drill.clusterParameterGroup is missing, which a drill of spec.rds.cluster needs"
        raise UserFault(Reason.INVALID_SPEC, message)
    return RDSTarget(
        instance=rds.instance,
        cluster=rds.cluster,
        region=rds.region,
        engine=rds.engine,
        endpoint=rds.endpoint,
        has_credentials=keys is not None,
        secret=keys.name if keys is not None else None,
        copy_to=CopyTarget(**rds.copy_to.model_dump()) if rds.copy_to is not None else None,
        drill=DrillPlace(**rds.drill.model_dump()) if rds.drill is not None else None,
    )


def _connected(target: DatabaseTarget, connection: Connection, default_port: int) -> DatabaseTarget:
    hosts = list(connection.hosts or ([connection.host] if connection.host else []))
    if not hosts:
        raise UserFault(Reason.INVALID_SPEC, "spec.connection names no host; expected exactly one of host and hosts")
    where = {
        "hosts": hosts,
        "port": connection.port or default_port,
        "database": connection.database,
        "tls": connection.tls.mode if connection.tls else TLSMode.REQUIRE,
    }
    return target.model_copy(update=where)


def _login(connection: Connection) -> list[SecretUse]:
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
    return secrets


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
            secrets.append(SecretUse(use="storage", secret=spec.s3.credentials_secret_ref.name, keys=_CLOUD_KEYS))
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


def store_secrets(secrets: Iterable[SecretUse]) -> list[SecretUse]:
    """Those of the store alone."""
    return [use for use in secrets if use.use.startswith(_STORE)]


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


def erasure_secrets(spec: BackupStorageSpec) -> list[SecretUse]:
    """The Secret that erased people are found by; for erasures, restores and drills alone."""
    if spec.erasure is None:
        return []
    ref = spec.erasure.key_secret_ref
    return [SecretUse(use=ERASURE, secret=ref.name, keys={"key": ref.key})]


def _immutable(spec: BackupStorageSpec) -> Immutable | None:
    if spec.immutability is None:
        return None
    seconds = int(parse_duration(spec.immutability.retention).total_seconds())
    return Immutable(mode=spec.immutability.mode, seconds=seconds)
