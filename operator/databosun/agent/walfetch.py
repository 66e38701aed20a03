"""A stored WAL segment on its way back: object -> age -> zstd -> a file as PostgreSQL's `restore_command` wants it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zstandard

from databosun.agent.children import Children
from databosun.agent.decode import AgeDecoder
from databosun.agent.reasons import AgentReason
from databosun.domain.errors import SafetyStop, UserFault
from databosun.storage.port import Buffer, ObjectStore
from databosun.storage.reasons import StorageReason
from databosun.storage.walog import DIGEST, LENGTH, StoredSegment

WHOLE_BELOW = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WalFetcher:
    """Fetches segments; safe to use from several threads. `identities`: files for `age --identity`."""

    store: ObjectStore
    children: Children
    identities: Sequence[Path] = ()

    def fetch(self, segment: StoredSegment, segment_bytes: int, target: Path, *, padded: bool = True) -> None:
        """Leave the segment at `target`, padded with zeros to its full size where that is asked, or nothing at all.

        ObjectMissing where it is gone (an open part may have been replaced by a longer one: list again);
        SafetyStop(LogCorrupt) where its plaintext is not what was archived; UserFault(IdentityMissing, IdentityWrong).
        """
        metadata = self.store.head(segment.key).metadata
        beside = target.with_name(f".{target.name}.{threading.get_ident()}")
        digest, length = hashlib.sha256(), 0
        try:
            with beside.open("wb") as file:
                for piece in self._plaintext(segment):
                    digest.update(piece)
                    length += len(piece)
                    file.write(piece)
                said = metadata.get(DIGEST)
                if (digest.hexdigest(), str(length)) != (said, metadata.get(LENGTH)) or length > segment_bytes:
                    raise self._corrupt(segment, f"{length} bytes with SHA-256 {digest.hexdigest()}, not {said}")
                if padded:
                    file.truncate(segment_bytes)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def _plaintext(self, segment: StoredSegment) -> Iterator[bytes]:
        stored: Iterator[Buffer]
        if segment.stored_bytes < WHOLE_BELOW:
            stored = iter([self.store.get(segment.key, limit=WHOLE_BELOW)])
        else:
            stored = self.store.stream(segment.key)
        unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        for piece in self._decrypted(segment, stored) if segment.encrypted else stored:
            try:
                yield unzip.decompress(bytes(piece))
            except zstandard.ZstdError as error:
                raise self._corrupt(segment, f"no zstd stream: {error}") from error

    def _decrypted(self, segment: StoredSegment, stored: Iterator[Buffer]) -> Iterator[Buffer]:
        if not self.identities:
            message = (
                f"{segment.key} is encrypted, and this Job was given no identity: set "
                "spec.encryption.age.identitySecretRefs of the BackupStorage"
            )
            raise UserFault(AgentReason.IDENTITY_MISSING, message)
        age = AgeDecoder(self.children, self.identities)
        fault: list[BaseException] = []
        feeder = threading.Thread(target=_feed, args=(age, stored, fault.append), daemon=True)
        feeder.start()
        try:
            yield from age.read()
            try:
                age.demand_success()
            except SafetyStop as error:
                raise self._corrupt(segment, error.message) from error
            feeder.join()
            if fault:
                raise fault[0]
        finally:
            age.kill()
            feeder.join()
            age.dispose()

    def _corrupt(self, segment: StoredSegment, found: str) -> SafetyStop:
        where = f"{segment.key} in {self.store.describe()}"
        message = f"{where} is not the segment that was archived: {found}; no restore can cross it"
        return SafetyStop(StorageReason.LOG_CORRUPT, message)


def _feed(age: AgeDecoder, stored: Iterator[Buffer], failed: Callable[[BaseException], None]) -> None:
    try:
        with suppress(BrokenPipeError):  # age says itself why it takes no more
            for piece in stored:
                age.feed(piece)
    except BaseException as error:  # carried to the thread that waits
        failed(error)
    finally:
        age.close()
