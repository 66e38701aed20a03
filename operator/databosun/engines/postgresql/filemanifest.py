"""PostgreSQL's own `backup_manifest`: is it whole, and is every file that it names in the archives with that size?

Format: PostgreSQL manual, "Backup Manifest Format": one file a line, the last line holds the SHA-256 of all before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.reasons import Reason

_CHECKSUM_LINE = b'"Manifest-Checksum"'
_RANGES = b'"WAL-Ranges"'


@dataclass(frozen=True, slots=True)
class WalRange:
    """The log that a backup needs to become consistent."""

    timeline: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file that the manifest names. `algorithm`, `checksum`: as it writes them; None where it has none."""

    path: str
    size: int
    algorithm: str | None = None
    checksum: str | None = None


def manifest_files(manifest: bytes) -> Iterator[ManifestFile]:
    """The files, line by line; memory stays small however many there are."""
    for line in manifest.splitlines():
        text = line.strip().rstrip(b",")
        if text.startswith((b'{ "Path"', b'{ "Encoded-Path"')):
            entry: dict[str, Any] = json.loads(text)
            path = entry.get("Path") or bytes.fromhex(entry["Encoded-Path"]).decode("utf-8", "surrogateescape")
            yield ManifestFile(path, int(entry["Size"]), entry.get("Checksum-Algorithm"), entry.get("Checksum"))


def demand_whole(manifest: bytes) -> None:
    """WorldFault(FormatCheckFailed) where the manifest's own checksum is missing or wrong."""
    body, mark, rest = manifest.rpartition(_CHECKSUM_LINE)
    stated = rest.split(b'"')[1].decode("ascii", "replace") if mark and rest.count(b'"') >= 2 else "none"
    found = hashlib.sha256(body).hexdigest()
    if found != stated:
        raise WorldFault(
            Reason.FORMAT_CHECK_FAILED, f"backup_manifest: its own checksum is {stated}, but its content has {found}"
        )


def wal_ranges(manifest: bytes) -> tuple[WalRange, ...]:
    """The stretches of WAL, normally one; several where the timeline changed."""
    start = manifest.rfind(_RANGES)
    if start < 0:
        raise WorldFault(Reason.FORMAT_CHECK_FAILED, "backup_manifest: it names no WAL-Ranges")
    decoder = json.JSONDecoder()
    text = manifest[start + len(_RANGES) :].decode("utf-8", "replace")
    entries, _ = decoder.raw_decode(text[text.index("[") :])
    return tuple(WalRange(int(e["Timeline"]), parse_lsn(e["Start-LSN"]), parse_lsn(e["End-LSN"])) for e in entries)


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def demand_covered(manifest: bytes, archives: Mapping[str, Mapping[str, int]], *, segment_bytes: int) -> int:
    """Demand that the archives hold what the manifest names, and the WAL beside it. Returns the number of files.

    `archives`: sizes by member name, by archive: `base`, an oid for each tablespace, and perhaps `pg_wal`.
    """
    count = 0
    for file in manifest_files(manifest):
        found = _size_in(archives, file.path)
        if found != file.size:
            lies = "is in no archive" if found is None else f"has {found} bytes in the archive"
            raise WorldFault(
                Reason.FORMAT_CHECK_FAILED, f"backup_manifest names {file.path} with {file.size} bytes, but it {lies}"
            )
        count += 1
    if not count:
        raise WorldFault(Reason.FORMAT_CHECK_FAILED, "backup_manifest names no file")
    for segment in wal_segments(wal_ranges(manifest), segment_bytes):
        if _wal_size(archives, segment) != segment_bytes:
            raise WorldFault(
                Reason.FORMAT_CHECK_FAILED,
                f"WAL segment {segment}, which the backup needs, is not whole in the archives",
            )
    return count


def wal_segments(ranges: tuple[WalRange, ...], segment_bytes: int) -> Iterator[str]:
    """The segments' file names; an end exactly on a border needs no further segment."""
    per_file = 0x1_0000_0000 // segment_bytes
    for stretch in ranges:
        last = max(stretch.end - 1, stretch.start) // segment_bytes
        for number in range(stretch.start // segment_bytes, last + 1):
            yield f"{stretch.timeline:08X}{number // per_file:08X}{number % per_file:08X}"


def _size_in(archives: Mapping[str, Mapping[str, int]], path: str) -> int | None:
    if path.startswith("pg_tblspc/"):
        _, oid, inside = path.split("/", 2)
        return archives.get(oid, {}).get(inside)
    return archives["base"].get(path)


def _wal_size(archives: Mapping[str, Mapping[str, int]], segment: str) -> int | None:
    apart = archives.get("pg_wal")
    return apart.get(segment) if apart is not None else archives["base"].get(f"pg_wal/{segment}")
