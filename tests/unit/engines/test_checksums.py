"""Files are compared with the checksums of the server's manifest, by any algorithm; those that differ are named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from databosun.domain.errors import SafetyStop
from databosun.engines.postgresql.filemanifest import ManifestFile, manifest_files
from databosun.engines.postgresql.recovery.checksums import compare_checksums

# "123456789": 0xe3069283 is the check value of CRC-32C (RFC 3720); a manifest has its bytes as they lie in memory.
NINE = b"123456789"
LINES = b"""{ "PostgreSQL-Backup-Manifest-Version": 2,
"Files": [
{ "Path": "base/1/16384", "Size": 9, "Last-Modified": "x", "Checksum-Algorithm": "CRC32C", "Checksum": "839206e3" },
{ "Path": "base/1/plain", "Size": 9, "Last-Modified": "x" }
],
"""


def laid_out(folder: Path, count: int) -> list[ManifestFile]:
    found = []
    for number in range(count):
        data = bytes([number % 251]) * (number * 1000)
        (folder / f"f{number}").write_bytes(data)
        found.append(ManifestFile(f"f{number}", len(data), "SHA256", hashlib.sha256(data).hexdigest()))
    return found


def nothing() -> None:
    """Of interest to nobody."""


def test_a_manifest_of_a_server_fits_its_files(tmp_path: Path) -> None:
    (tmp_path / "base/1").mkdir(parents=True)
    for name in ("16384", "plain"):
        (tmp_path / "base/1" / name).write_bytes(NINE)
    compare_checksums(tmp_path, manifest_files(LINES), nothing)
    (tmp_path / "base/1/16384").write_bytes(b"123456780")
    with pytest.raises(SafetyStop, match=r"base/1/16384 has CRC32C [0-9a-f]{8}, not 839206e3") as caught:
        compare_checksums(tmp_path, manifest_files(LINES), nothing)
    assert caught.value.reason == "FilesDamaged"


def test_each_file_that_differs_is_counted_and_the_first_are_named(tmp_path: Path) -> None:
    files = laid_out(tmp_path, 300)
    compare_checksums(tmp_path, files, nothing)
    for number in (7, 100, 299):
        data = bytearray((tmp_path / f"f{number}").read_bytes())
        data[-1] ^= 1
        (tmp_path / f"f{number}").write_bytes(data)
    with pytest.raises(SafetyStop, match="3 files") as caught:
        compare_checksums(tmp_path, files, nothing)
    assert all(f"f{number} has SHA256" in caught.value.message for number in (7, 100, 299))


def test_it_stops_when_it_is_told_to(tmp_path: Path) -> None:
    read = []

    def files() -> list[ManifestFile]:
        return [ManifestFile("f9", 9000, "SHA256", "x")] * 1_000_000

    def told() -> None:
        read.append(1)
        raise InterruptedError

    laid_out(tmp_path, 10)
    with pytest.raises(InterruptedError):
        compare_checksums(tmp_path, files(), told)
    assert read == [1]


def test_a_file_that_cannot_be_read_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compare_checksums(tmp_path, [ManifestFile("gone", 1, "CRC32C", "00000000")], nothing)
