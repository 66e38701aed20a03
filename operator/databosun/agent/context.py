"""What a task has at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from databosun.agent.children import Children
from databosun.agent.log import Log
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.secrets import Secrets
from databosun.agent.stop import Stop
from databosun.agent.stores import open_store
from databosun.api.backuptasks import BackupTask, ProbeTask
from databosun.api.recordtasks import RecordPlace
from databosun.api.request import (
    ANSWER_PATH,
    REQUEST_PATH,
    RESTORE_PATH,
    SCRATCH_PATH,
    SECRETS_PATH,
    TERMINATION_PATH,
    VOLUME_PATH,
    Request,
)
from databosun.api.restoretasks import DrillTask
from databosun.api.targets import EVIDENCE, DatabaseTarget, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.engines.base import Credentials, Engine, Target
from databosun.engines.managed import Managed, ManagedEngine, Visit
from databosun.storage.layout import Layout
from databosun.storage.manifest import load_private_key, load_public_key
from databosun.storage.owner import Claimant
from databosun.storage.port import ObjectStore
from databosun.storage.reasons import StorageReason

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the pod's files are."""

    request: Path = Path(REQUEST_PATH)
    secrets: Path = Path(SECRETS_PATH)
    scratch: Path = Path(SCRATCH_PATH)
    termination: Path = Path(TERMINATION_PATH)
    volume: Path = Path(VOLUME_PATH)
    restore: Path = Path(RESTORE_PATH)
    answer: Path = Path(ANSWER_PATH)


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a task, by the clock."""

    name: str
    began: datetime
    ended: datetime


@dataclass
class Context:
    """One run of the agent. `started`: something may have been done by now, so a failure is no mere refusal."""

    request: Request
    paths: Paths
    secrets: Secrets
    log: Log
    stop: Stop
    children: Children
    progress: Progress
    clock: Callable[[], datetime]
    load_engine: Callable[[EngineName], Engine]
    started: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)

    @cached_property
    def store(self) -> ObjectStore:
        """The store of the request."""
        return open_store(self.storage, self.secrets, self.paths.volume)

    @cached_property
    def layout(self) -> Layout:
        """The names in it."""
        return Layout(self.storage.prefix, self.storage.namespace)

    @cached_property
    def storage(self) -> StorageTarget:
        """The storage of the request. UserFault(BadRequest) where there is none."""
        return self._demand(self.request.storage, "storage")

    @cached_property
    def database(self) -> DatabaseTarget:
        """The database of the request. UserFault(BadRequest) where there is none."""
        return self._demand(self.request.database, "database")

    @cached_property
    def engine(self) -> Engine:
        """The engine of the database; one whose backups a cloud keeps has the login at hand."""
        return self.managed or self.load_engine(self.database.engine)

    @cached_property
    def managed(self) -> ManagedEngine | None:
        """The engine where a cloud keeps the backups; None for all others, and where the request names no database."""
        database, job = self.request.database, self.request.job
        engine = self.load_engine(database.engine) if database is not None else None
        if database is None or not isinstance(engine, Managed):
            return None
        storage, look = self.request.storage, job.managed if isinstance(job, ProbeTask) else None
        visit = Visit(
            cluster=storage.cluster_id if storage is not None else look.cluster_id if look is not None else "",
            namespace=database.namespace,
            database=database.name,
            database_uid=database.uid,
            run=job.id if isinstance(job, BackupTask | DrillTask) else "",
            attempt=self.request.attempt,
            until=self.request.deadline,
        )
        return engine.visit(self.target, visit, self.stop.check)

    @cached_property
    def target(self) -> Target:
        """The database and how to log in."""
        return self.read_target()

    def read_target(self, database: DatabaseTarget | None = None) -> Target:
        """The same with the Secret as it is now; for tasks that outlive a password. `database`: another one, which the
        mounted Secrets are of."""
        key_id, secret = self.secrets.text("cloud", "accessKeyId"), self.secrets.text("cloud", "secretAccessKey")
        credentials = Credentials(
            username=self.secrets.text("database", "username") or "",
            password=self.secrets.text("database", "password") or "",
            ca=self.secrets.path("database-ca", "ca.crt"),
            cert=self.secrets.path("database-client", "tls.crt"),
            key=self.secrets.path("database-client", "tls.key"),
            cloud=(key_id, secret) if key_id and secret else None,
        )
        return Target(database or self.database, credentials)

    @cached_property
    def claimant(self) -> Claimant:
        """Who this cluster is to the store."""
        return Claimant(self.storage.cluster_id, self.storage.name, self.storage.adopt_from)

    @cached_property
    def signing_key(self) -> Ed25519PrivateKey | None:
        """The key that manifests are signed with. UserFault where it does not fit spec.signing.publicKey."""
        path = self.secrets.path("signing", "key")
        if path is None:
            return None
        where = f"Secret {self.secrets.name('signing')}"
        key = load_private_key(path.read_bytes(), where)
        public = self.public_key
        if public is not None and key.public_key().public_bytes_raw() != public.public_bytes_raw():
            message = f"the private key in {where} and spec.signing.publicKey are no pair"
            raise UserFault(StorageReason.SIGNING_KEY_INVALID, message)
        return key

    @cached_property
    def public_key(self) -> Ed25519PublicKey | None:
        """The key that signatures are demanded by."""
        if not self.storage.signed or self.storage.public_key is None:
            return None
        return load_public_key(self.storage.public_key, "spec.signing.publicKey")

    def of_records(self, place: RecordPlace) -> Context:
        """The same for the storage that takes the record of the run."""
        if place.storage is None:
            return self
        request = self.request.model_copy(update={"storage": place.storage})
        return replace(self, request=request, secrets=self.secrets.under(EVIDENCE))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one phase and say that it begins; Stopped where the agent is to stop."""
        self.stop.check()
        self.log.info("phase", phase=name)
        began, at = time.monotonic(), self.clock()
        try:
            yield
        finally:
            self.phases.append(Phase(name, at, self.clock()))
            self.timings[name] = round(self.timings.get(name, 0.0) + time.monotonic() - began, 3)

    def _demand(self, part: Part | None, what: str) -> Part:
        if part is None:
            message = f"the request for task {self.request.job.task} names no {what}"
            raise UserFault(AgentReason.BAD_REQUEST, message)
        return part
