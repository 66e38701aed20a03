"""What obstore lacks, through boto3: object lock, the server's checksums, versions, unfinished uploads.

boto3 costs a second of CPU and 35 MiB, so it is loaded on first use.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import posixpath
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from databosun.domain.errors import DatabosunError, UserFault
from databosun.storage.port import Checksums, ObjectMissing, Retention, Undeleted
from databosun.storage.reasons import StorageReason
from databosun.storage.s3_errors import Refusal, fault_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from databosun.storage.s3_access import S3Access

BATCH = 1000  # of DeleteObjects: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_NO_LOCK = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented"}


@dataclass(frozen=True, slots=True)
class _Version:
    key: str
    version: str
    marker: bool


class S3Extra:
    """The rarer requests to one bucket. Raises what `port.py` says."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._place = access.place
        self._lock = threading.Lock()
        self._made: S3Client | None = None

    def warm(self) -> None:
        """Load boto3 beside whatever is going on; an upload that waits for a network costs little CPU."""

        def load() -> None:
            with contextlib.suppress(Exception):  # whatever it is, the first real request says it
                _ = self.client

        threading.Thread(target=load, name="boto3", daemon=True).start()

    def put_locked(
        self, key: str, data: bytes | bytearray, *, if_absent: bool, metadata: Mapping[str, str], retention: Retention
    ) -> None:
        """Write an object that is locked from its first instant."""
        more: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with self.faults(key, locking=True):
            self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=bytes(data),
                ChecksumAlgorithm="SHA256",
                Metadata=dict(metadata),
                ObjectLockMode="COMPLIANCE" if retention.mode == "Compliance" else "GOVERNANCE",
                ObjectLockRetainUntilDate=retention.until,
                **more,
            )

    def checksums(self, key: str) -> Checksums:
        """SHA-256 of an object, or over the parts of an upload, as the server keeps it."""
        with self.faults(key):
            found = self.client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        text, _, parts = found.get("ChecksumSHA256", "").partition("-")
        try:
            digest = base64.b64decode(text, validate=True).hex()
        except binascii.Error:
            return Checksums()
        if len(digest) != 64:
            return Checksums()
        return Checksums(composite=f"{digest}-{parts}") if parts else Checksums(sha256=digest)

    def retain(self, key: str, retention: Retention) -> None:
        """Lock an object, or lengthen its lock; a longer or stricter one stays."""
        now = self._retention(key)
        if now and now.until >= retention.until:
            return
        strict = "Compliance" in {retention.mode, now.mode if now else None}
        with self.faults(key, locking=True):
            self.client.put_object_retention(
                Bucket=self.bucket,
                Key=key,
                Retention={"Mode": "COMPLIANCE" if strict else "GOVERNANCE", "RetainUntilDate": retention.until},
            )

    def locked_until(self, key: str) -> datetime | None:
        """The end of an object's lock, if that lies ahead."""
        now = self._retention(key)
        return now.until if now and now.until > datetime.now(UTC) else None

    def delete(self, keys: Sequence[str]) -> tuple[Undeleted, ...]:
        """Delete all versions of these objects, the data before the delete markers that hide it."""
        if not keys:
            return ()
        versions = list(self._versions(keys))
        refused: list[Undeleted] = []
        for markers in (False, True):
            of_kind = [version for version in versions if version.marker == markers]
            for start in range(0, len(of_kind), BATCH):
                refused += self._delete_batch(of_kind[start : start + BATCH])
        return tuple({one.key: one for one in refused}.values())

    def abort_uploads(self, prefix: str, *, before: datetime, sparing: Sequence[str] = ()) -> tuple[str, ...]:
        """Abort multipart uploads that were started before an instant."""
        aborted = []
        with self.faults(prefix):
            pages = self.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=f"{prefix}/"
            )
            stale = [one for page in pages for one in page.get("Uploads", ()) if one["Initiated"] < before]
            spared = tuple(f"{folder}/" for folder in sparing)
            for upload in (one for one in stale if not one["Key"].startswith(spared)):
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                aborted.append(upload["Key"])
        return tuple(aborted)

    def _delete_batch(self, versions: Sequence[_Version]) -> Iterator[Undeleted]:
        wanted: list[Any] = [
            {"Key": one.key, "VersionId": one.version} if one.version else {"Key": one.key} for one in versions
        ]
        with self.faults(versions[0].key):
            answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": wanted, "Quiet": True})
        for error in answer.get("Errors", ()):
            if error.get("Code") not in {"NoSuchKey", "NoSuchVersion"}:
                yield self._undeleted(error.get("Key", ""), error.get("VersionId"), error)

    def _undeleted(self, key: str, version: str | None, error: Mapping[str, Any]) -> Undeleted:
        try:
            lock = self._retention(key, version)
        except DatabosunError:  # the refusal itself is what matters; its reason may be as forbidden to read
            lock = None
        until = lock.until if lock and lock.until > datetime.now(UTC) else None
        said = f"{error.get('Code', 'refused')}: {error.get('Message', '')}".strip(": ")
        return Undeleted(key, f"{self._place} does not delete {key} ({said})", until)

    def _versions(self, keys: Sequence[str]) -> Iterator[_Version]:
        """Every version and delete marker of the keys; the keys themselves where the store shows no versions."""
        from botocore.exceptions import ClientError

        wanted = set(keys)
        seen: set[str] = set()
        folder = posixpath.commonpath(wanted)
        try:
            with self.faults(folder, passing=ClientError):
                pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=folder)
                for page in pages:
                    found: Iterable[tuple[Any, bool]] = (
                        *((one, False) for one in page.get("Versions", ())),
                        *((one, True) for one in page.get("DeleteMarkers", ())),
                    )
                    for one, marker in found:
                        if one["Key"] in wanted:
                            seen.add(one["Key"])
                            yield _Version(one["Key"], one.get("VersionId", ""), marker)
        except ClientError as error:
            if _refusal(error).code not in {"NotImplemented", "MethodNotAllowed", "AccessDenied"}:
                raise fault_of(_refusal(error), self._place, folder) from error
        yield from (_Version(key, "", marker=False) for key in wanted - seen)

    def _retention(self, key: str, version: str | None = None) -> Retention | None:
        from botocore.exceptions import ClientError

        more: dict[str, Any] = {"VersionId": version} if version else {}
        try:
            with self.faults(key, passing=ClientError):
                found = self.client.get_object_retention(Bucket=self.bucket, Key=key, **more)
        except ClientError as error:
            refusal = _refusal(error)
            if refusal.code == "NoSuchKey":
                raise ObjectMissing(key, str(self._place)) from error
            if refusal.code in _NO_LOCK or refusal.status in {400, 404, 501}:
                return None
            raise fault_of(refusal, self._place, key) from error
        lock = found.get("Retention", {})
        until = lock.get("RetainUntilDate")
        if until is None:
            return None
        return Retention("Compliance" if lock.get("Mode") == "COMPLIANCE" else "Governance", until)

    @property
    def bucket(self) -> str:
        """Its name."""
        return self._access.target.bucket

    @property
    def client(self) -> S3Client:
        """The library's own, made on first use."""
        with self._lock:
            if self._made is None:
                self._made = _make_client(self._access)
            return self._made

    @contextlib.contextmanager
    def faults(self, key: str, *, passing: type[Exception] | tuple[()] = (), locking: bool = False) -> Iterator[None]:
        """Turns the library's errors into ours, but for those of `passing`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except passing:
            raise
        except ClientError as error:
            refusal = _refusal(error)
            if locking and (refusal.code in _NO_LOCK or refusal.status in {400, 501}):
                advice = "create the bucket with object lock, or drop spec.immutability"
                message = f"{self._place} has no object lock ({refusal.text}); {advice}"
                raise UserFault(StorageReason.LOCK_UNSUPPORTED, message) from error
            raise fault_of(refusal, self._place, key) from error
        except BotoCoreError as error:
            raise fault_of(Refusal("", 0, str(error)), self._place, key) from error

    def fault(self, error: Any, key: str) -> DatabosunError:
        """The error to raise for one that was let pass."""
        return fault_of(_refusal(error), self._place, key)


def _refusal(error: Any) -> Refusal:
    said = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(said.get("Code", ""))
    return Refusal("" if code.isdigit() else code, status, str(said.get("Message") or code))


def _make_client(access: S3Access) -> S3Client:
    import boto3
    from botocore.config import Config

    target, patience = access.target, access.patience
    more: dict[str, Any] = {"verify": str(access.ca)} if access.ca else {}
    if access.access_key and access.secret_key:
        more |= {"aws_access_key_id": access.access_key, "aws_secret_access_key": access.secret_key}
    return boto3.client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        config=Config(
            connect_timeout=patience.connect.total_seconds(),
            read_timeout=patience.request.total_seconds(),
            retries={"total_max_attempts": patience.retries + 1, "mode": "standard"},
            s3={"addressing_style": "path" if target.force_path_style else "virtual"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            user_agent="databosun",
        ),
        **more,
    )
