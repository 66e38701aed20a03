"""The engine's file manifest: every file that it names is in the archives, with that size, and the WAL beside them."""

from __future__ import annotations

import hashlib

import pytest

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.filemanifest import (
    WalRange,
    demand_covered,
    demand_whole,
    manifest_files,
    parse_lsn,
    wal_ranges,
    wal_segments,
)

SEGMENT = 16 * 1024 * 1024
ODD = "base/5/\udcff"


def manifest() -> bytes:
    """As a server writes it, one file with a name that is no UTF-8."""
    body = (
        b'{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": 7,\n"Files": [\n'
        b'{ "Path": "base/1/1259", "Size": 8192, "Last-Modified": "2026-01-01 00:00:00 GMT", "Checksum": "00" },\n'
        b'{ "Encoded-Path": "626173652f352fff", "Size": 5, "Last-Modified": "2026-01-01 00:00:00 GMT" },\n'
        b'{ "Path": "pg_tblspc/16400/PG_18_202506291/5/1", "Size": 0, "Last-Modified": "2026-01-01 00:00:00 GMT" }\n'
        b'],\n"WAL-Ranges": [\n'
        b'{ "Timeline": 2, "Start-LSN": "0/2000028", "End-LSN": "0/4000000" }\n],\n'
    )
    return body + b'"Manifest-Checksum": "' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def archives() -> dict[str, dict[str, int]]:
    """What was found in the archives."""
    wal = {f"pg_wal/00000002000000000000000{n}": SEGMENT for n in (2, 3)}
    return {"base": {"base/1/1259": 8192, ODD: 5, "backup_label": 200, **wal}, "16400": {"PG_18_202506291/5/1": 0}}


def test_names_and_sizes_are_read() -> None:
    assert [(file.path, file.size) for file in manifest_files(manifest())] == [
        ("base/1/1259", 8192),
        (ODD, 5),
        ("pg_tblspc/16400/PG_18_202506291/5/1", 0),
    ]


def test_what_is_covered_passes() -> None:
    demand_whole(manifest())
    assert demand_covered(manifest(), archives(), segment_bytes=SEGMENT) == 3


@pytest.mark.parametrize(
    ("archive", "name", "size", "said"),
    [
        ("base", "base/1/1259", None, "is in no archive"),
        ("base", "base/1/1259", 8191, "has 8191 bytes"),
        ("16400", "PG_18_202506291/5/1", None, "pg_tblspc/16400"),
        ("base", "pg_wal/000000020000000000000003", None, "WAL segment 000000020000000000000003"),
        ("base", "pg_wal/000000020000000000000002", 100, "WAL segment 000000020000000000000002"),
    ],
)
def test_what_is_missing_is_named(archive: str, name: str, size: int | None, said: str) -> None:
    found = archives()
    if size is None:
        del found[archive][name]
    else:
        found[archive][name] = size
    with pytest.raises(WorldFault, match=said):
        demand_covered(manifest(), found, segment_bytes=SEGMENT)


def test_wal_in_an_archive_of_its_own() -> None:
    found = archives()
    for name in [name for name in found["base"] if name.startswith("pg_wal/")]:
        del found["base"][name]
    found["pg_wal"] = {"000000020000000000000002": SEGMENT, "000000020000000000000003": SEGMENT}
    assert demand_covered(manifest(), found, segment_bytes=SEGMENT) == 3


@pytest.mark.parametrize("spoil", [lambda m: m.replace(b"8192", b"8193"), lambda m: m[:-80], lambda _: b""])
def test_a_changed_or_cut_manifest_is_noticed(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(WorldFault, match="its own checksum"):
        demand_whole(spoil(manifest()))


def test_a_manifest_without_files_is_none() -> None:
    text = b'{ "Files": [],\n"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/1", "End-LSN": "0/2" }\n],\n'
    with pytest.raises(WorldFault, match="names no file"):
        demand_covered(text, {"base": {}}, segment_bytes=SEGMENT)


def test_wal_ranges_over_a_change_of_timeline() -> None:
    text = (
        b'"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/FF000028", "End-LSN": "1/10" },\n'
        b'{ "Timeline": 2, "Start-LSN": "1/10", "End-LSN": "1/2000000" }\n],\n'
    )
    ranges = wal_ranges(text)
    assert ranges == (
        WalRange(1, parse_lsn("0/FF000028"), parse_lsn("1/10")),
        WalRange(2, parse_lsn("1/10"), parse_lsn("1/2000000")),
    )
    assert list(wal_segments(ranges, SEGMENT)) == [
        "0000000100000000000000FF",
        "000000010000000100000000",
        "000000020000000100000000",
        "000000020000000100000001",
    ]
