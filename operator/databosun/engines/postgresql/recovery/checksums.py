"""The checksums of the server's own manifest against the files, many files at a time.

`pg_verifybackup` reads one file after the other, which takes three times as long as the disk needs, and far longer on
network disks. It still judges everything but the checksums: which files there are, their sizes, the log.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import anycrc

from databosun.domain.errors import SafetyStop
from databosun.engines.postgresql.filemanifest import ManifestFile
from databosun.engines.postgresql.reasons import Reason

_CHUNK = 1024 * 1024
_AT_ONCE = 8
_LOOK_SECONDS = 0.2
_NAMED = 5
_CRC32C = anycrc.Model("CRC32-ISCSI")


def compare_checksums(data: Path, files: Iterable[ManifestFile], pulse: Callable[[], None]) -> None:
    """SafetyStop(FilesDamaged) names those that differ. `pulse` runs meanwhile, and may raise. Needs about 8 MiB."""
    work = _Work(data, files)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="checksums") as pool:
        pending = {pool.submit(work.run) for _ in range(_AT_ONCE)}
        try:
            while pending:
                pulse()
                done, pending = wait(pending, _LOOK_SECONDS, FIRST_EXCEPTION)
                for one in done:
                    one.result()
        finally:
            work.stop.set()
    if work.wrong:
        wrong = sorted(work.wrong)
        raise SafetyStop(
            Reason.FILES_DAMAGED,
            f"{len(wrong)} files are not those that the server's own manifest names: {'; '.join(wrong[:_NAMED])}",
        )


class _Work:
    """Files that wait to be read: a few threads take one after the other, so that memory is the same for any number."""

    def __init__(self, data: Path, files: Iterable[ManifestFile]) -> None:
        self.wrong: list[str] = []
        self.stop = threading.Event()
        self._data = data
        self._files = iter(files)
        self._turn = threading.Lock()

    def run(self) -> None:
        """Until there is none left."""
        while not self.stop.is_set():
            with self._turn:
                file = next(self._files, None)
            if file is None:
                return
            if said := _differs(self._data, file, self.stop):
                self.wrong.append(said)


def _differs(data: Path, file: ManifestFile, stop: threading.Event) -> str | None:
    """What is wrong with one file; None: nothing, or it has no checksum."""
    if file.algorithm is None or file.checksum is None:
        return None
    found = _checksum(data / file.path, file.algorithm, stop)
    if found == file.checksum.lower():
        return None
    return f"{file.path} has {file.algorithm} {found}, not {file.checksum}"


def _checksum(path: Path, algorithm: str, stop: threading.Event) -> str:
    """As the manifest writes it: of CRC32C the bytes as they lie in memory, so the lowest first."""
    digest = None if algorithm == "CRC32C" else hashlib.new(algorithm)
    crc = 0
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while (count := file.readinto(buffer)) and not stop.is_set():
            if digest is None:
                crc = _CRC32C.calc(buffer[:count], crc)
            else:
                digest.update(buffer[:count])
    return crc.to_bytes(4, "little").hex() if digest is None else digest.hexdigest()
