"""Artefacts on their way back: ranged parallel GETs -> SHA-256 -> age -> the engine, in bounded memory.

Nothing is written anywhere on the way. Bytes are hashed as they pass, so the engine has seen an artefact before its
digest is known: what it made of it counts for nothing until the artefact was closed without an error. Where the engine
stumbles over damaged bytes, the rest is still read and hashed, so that the fault named is the damage.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from databosun.agent.chain import Member
from databosun.agent.channel import Channel
from databosun.agent.children import Children
from databosun.agent.decode import AgeDecoder
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.stop import Stop, Stopped
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.storage.manifest import Artefact
from databosun.storage.port import Buffer, ObjectMissing, ObjectStore
from databosun.storage.reasons import StorageReason

CHUNKS_AHEAD = 2
MAX_PLAIN_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FetchLane:
    """What all artefacts of one restore share. `identities`: files for `age --identity`."""

    store: ObjectStore
    identities: Sequence[Path]
    children: Children
    stop: Stop
    progress: Progress


@dataclass
class ChainSource:
    """`Source` of `engines/base.py`: the artefacts of the backups of one chain. Safe to use from several threads."""

    lane: FetchLane
    members: Sequence[Member]
    waited: float = 0.0
    stored_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def names(self, backup: str) -> tuple[str, ...]:
        """The artefacts of one backup, as its manifest lists them."""
        return tuple(artefact.name for artefact in self._member(backup).manifest.artefacts)

    def size(self, backup: str, name: str) -> int:
        """Bytes of data of an artefact, uncompressed where the engine knew."""
        return self._artefact(backup, name).bytes

    @contextmanager
    def open(self, backup: str, name: str) -> Iterator[ArtefactStream]:
        """Read one artefact from first to last byte. Leaving the block without having done so is an error of ours.

        SafetyStop(ArtefactCorrupt) where bytes differ from what was written, (ArtefactMissing) where an object is gone;
        UserFault(IdentityMissing, IdentityWrong) where it cannot be decrypted; Stopped.
        """
        member, artefact = self._member(backup), self._artefact(backup, name)
        stream = ArtefactStream(self.lane, member, artefact)
        stream.start()
        try:
            yield stream
        except BaseException as error:  # whatever the reader met, damage behind it explains it
            stream.explain(error)
            raise
        else:
            stream.finish()
        finally:
            with self._lock:
                self.waited += stream.waited
                self.stored_bytes += stream.stored_bytes

    def read_plain(self, backup: str, name: str) -> bytes:
        """A small artefact whole, such as the engine's own file manifest."""
        pieces: list[bytes] = []
        with self.open(backup, name) as stream:
            while data := stream.read():
                pieces.append(bytes(data))
                if sum(map(len, pieces)) > MAX_PLAIN_BYTES:
                    message = f"{name} of {backup} is larger than {MAX_PLAIN_BYTES} bytes"
                    raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, message)
        return b"".join(pieces)

    def _member(self, backup: str) -> Member:
        return next(member for member in self.members if member.manifest.id == backup)

    def _artefact(self, backup: str, name: str) -> Artefact:
        manifest = self._member(backup).manifest
        for artefact in manifest.artefacts:
            if artefact.name == name:
                return artefact
        message = f"the manifest of {backup} lists no artefact {name}; it lists {', '.join(self.names(backup))}"
        raise SafetyStop(StorageReason.MANIFEST_INVALID, message)


class ArtefactStream:
    """`ArtefactReader` of `engines/base.py`. `waited`: seconds that the reader waited for bytes."""

    def __init__(self, lane: FetchLane, member: Member, artefact: Artefact) -> None:
        self.name = artefact.name
        self.waited = 0.0
        self.stored_bytes = 0
        self._lane = lane
        self._member = member
        self._artefact = artefact
        self._channel = Channel(CHUNKS_AHEAD)
        self._damage: BaseException | None = None  # what fetching found, which explains all else
        self._undecrypted: BaseException | None = None
        self._dropping = False  # nobody wants the bytes any more; they are only hashed
        self._ended = False
        self._age = AgeDecoder(lane.children, self._identities()) if artefact.encryption else None
        self._threads = [threading.Thread(target=self._run_fetch, name=f"{self.name}-fetch", daemon=True)]
        if self._age:
            self._threads.append(threading.Thread(target=self._run_age, name=f"{self.name}-decrypt", daemon=True))
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to fetch."""
        for thread in self._threads:
            thread.start()
        self._unsubscribe = self._lane.stop.subscribe(self._stopped)

    def read(self, size: int = 0) -> Buffer:
        """The next bytes, as many as there are (`size` is only a wish); empty at the end. Raises what went wrong."""
        if self._ended:
            return b""
        began = time.monotonic()
        piece = self._channel.get()
        self.waited += time.monotonic() - began
        if piece is None:
            self._ended = True
            return b""
        self._lane.progress.add(len(piece))
        return piece

    def finish(self) -> None:
        """Read what is left; every digest must be right."""
        while not self._ended:
            self.read()
        self._close()
        if fault := self._damage or self._undecrypted:
            raise fault

    def explain(self, error: BaseException) -> None:
        """After a failure of the reader: hash the rest, and raise the damage where there is some."""
        self._drop(error)
        self._close()
        fault = self._damage or self._undecrypted
        if fault and fault is not error:
            raise fault from error

    def _drop(self, error: BaseException) -> None:
        self._dropping = True
        self._channel.fail(error)
        if self._age:
            self._age.kill()

    def _close(self) -> None:
        for thread in self._threads:
            thread.join()
        self._unsubscribe()
        if self._age:
            self._age.dispose()

    def _run_fetch(self) -> None:
        try:
            self._fetch()
        except BaseException as error:  # carried to the reader
            self._damage = error
            self._channel.fail(error)
        finally:
            if self._age:
                self._age.close()

    def _run_age(self) -> None:
        age = self._age
        if age is None:
            return
        try:
            for chunk in age.read():
                self._channel.put(chunk)
            age.demand_success()
            self._channel.put(None)
        except BaseException as error:  # carried to the reader
            if not self._dropping:
                self._undecrypted = error
            self._dropping = True
            self._channel.fail(error)
            age.kill()

    def _fetch(self) -> None:
        """Hash every volume and hand it on; a volume's digest decides when its last byte has passed."""
        whole = hashlib.sha256()
        alone = len(self._artefact.parts) == 1
        for part in self._artefact.parts:
            key = self._member.folder.stored(self._member.manifest.attempt, part.name)
            digest = hashlib.sha256()
            for piece in self._pieces(key, part.bytes):
                self._lane.stop.check()
                digest.update(piece)
                if not alone:
                    whole.update(piece)
                self.stored_bytes += len(piece)
                self._hand_over(piece)
            self._demand(key, digest.hexdigest(), part.sha256)
            whole = digest if alone else whole
        self._demand(f"artefact {self.name} of {self._member.manifest.id}", whole.hexdigest(), self._artefact.sha256)
        if not self._age:
            self._hand_over(None)

    def _hand_over(self, piece: Buffer | None) -> None:
        """To age or to the reader; where those have given up, the bytes go nowhere."""
        if self._dropping:
            return
        try:
            if self._age and piece is not None:
                self._age.feed(piece)
            else:
                self._channel.put(piece)
        except Stopped:
            raise
        except BaseException:  # a decryption that has failed tells why; only the digest goes on
            self._dropping = self._dropping or self._age is not None
            if not self._dropping:
                raise

    def _pieces(self, key: str, size: int) -> Iterator[Buffer]:
        try:
            yield from self._lane.store.stream(key, end=size)
        except ObjectMissing as error:
            message = (
                f"{key}, which the manifest of backup {self._member.manifest.id} lists, is not there in "
                f"{self._lane.store.describe()}: the backup is not whole; find out who deletes in the storage"
            )
            raise SafetyStop(AgentReason.ARTEFACT_MISSING, message) from error
        except DatabosunError as error:
            if error.reason != StorageReason.UPLOAD_CORRUPT:
                raise
            raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, f"{error.message}; {_NOT_WHOLE}") from error

    def _demand(self, what: str, found: str, expected: str) -> None:
        if found != expected:
            message = (
                f"{what} in {self._lane.store.describe()} has SHA-256 {found}, but {expected} was written; {_NOT_WHOLE}"
            )
            raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, message)

    def _stopped(self, error: Stopped) -> None:
        self._drop(error)

    def _identities(self) -> Sequence[Path]:
        if not self._lane.identities:
            recipients = ", ".join(self._artefact.encryption.recipients if self._artefact.encryption else ())
            message = (
                f"{self.name} of {self._member.manifest.id} is encrypted to {recipients}, and this Job was given no "
                "identity: set spec.encryption.age.identitySecretRefs of the BackupStorage"
            )
            raise UserFault(AgentReason.IDENTITY_MISSING, message)
        return self._lane.identities


_NOT_WHOLE = "the object was changed or damaged since, and this backup cannot be restored from it"
