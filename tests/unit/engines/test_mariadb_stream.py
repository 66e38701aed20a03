"""The stream of mariadb-backup is whole, or it is no backup: wherever it is cut, damaged or swapped."""

from __future__ import annotations

import struct
import zlib

import pytest

from databosun.domain.errors import WorldFault
from databosun.engines.mysql.physical.stream import CopyCheck

TOLD = {
    "xtrabackup_checkpoints": b"backup_type = full-backuped\n",
    "xtrabackup_info": b"tool_name = mariadb-backup\n",
    "backup-my.cnf": b"[mysqld]\n",
    "xtrabackup_binlog_info": b"bin.000001\t4711\t0-7-12\n",
}
FILES = {"ibdata1": b"i" * 700, "ib_logfile0": b"l" * 300, "shop/empty.frm": b"", **TOLD}


def head(kind: bytes, path: str, flags: int = 0) -> bytes:
    return struct.pack("<8sB1sI", b"XBSTCK01", flags, kind, len(path)) + path.encode()


def piece(path: str, data: bytes, offset: int = 0, flags: int = 0) -> bytes:
    return head(b"P", path, flags) + struct.pack("<QQI", len(data), offset, zlib.crc32(data)) + data


def end(path: str) -> bytes:
    return head(b"E", path)


def whole(files: dict[str, bytes] = FILES) -> bytes:
    """Two pieces a file, and those of all files in turns."""
    first = [piece(name, data[:100]) for name, data in files.items()]
    second = [piece(name, data[100:], 100) for name, data in files.items() if len(data) > 100]
    return b"".join((*first, *second, *map(end, files)))


def looked_at(data: bytes, step: int = 1 << 20) -> CopyCheck:
    check = CopyCheck("copy")
    for at in range(0, len(data), step):
        check.feed(memoryview(data)[at : at + step])
    assert check.close() == len(data)
    return check


@pytest.mark.parametrize("step", [1, 7, 13, 64, 1 << 20])
def test_a_whole_one_passes_however_it_comes(step: int) -> None:
    told = looked_at(whole(), step).told
    assert told["binlog_info"] == "bin.000001\t4711\t0-7-12\n"
    assert set(told) == {"checkpoints", "info", "binlog_info", "backup-my.cnf"}


@pytest.mark.parametrize("step", [1, 7, 13, 64, 1 << 20])
def test_a_table_that_was_dropped_after_it_was_copied_may_go(step: int) -> None:
    """As mariadb-backup writes it of Aria and MyISAM tables."""
    copied = piece("shop/a.MAD", b"a") + end("shop/a.MAD") + whole()
    made = piece("shop/a.frm", b"a") + end("shop/a.frm")
    gone = head(b"D", "shop/a.MAD") + head(b"D", "shop/a.frm")
    looked_at(copied + gone, step)
    looked_at(copied + gone + piece("shop/a.MAD", b"c") + end("shop/a.MAD"), step)
    looked_at(copied + made + gone + piece("shop/a.frm", b"c") + end("shop/a.frm"), step)
    looked_at(copied + piece("shop/a.MAD", b"b", flags=2) + end("shop/a.MAD"), step)
    with pytest.raises(WorldFault, match="lacks ib_logfile0"):
        looked_at(whole() + head(b"D", "ib_logfile0"), step)


@pytest.mark.parametrize(
    ("change", "said"), [(head(b"R", "shop/a.MAD"), "renamed"), (head(b"D", "shop/a.frm"), "dropped and made anew")]
)
def test_what_the_program_would_lose_or_break_is_no_backup(change: bytes, said: str) -> None:
    copied = piece("shop/a.frm", b"a") + end("shop/a.frm") + whole()
    with pytest.raises(WorldFault, match=rf"shop/a was copied, .* it was {said}") as caught:
        looked_at(copied + change)
    assert caught.value.reason == "SchemaChanged"


def test_wherever_it_is_cut_it_is_no_backup() -> None:
    data = whole()
    for length in range(len(data)):
        with pytest.raises(WorldFault) as caught:
            looked_at(data[:length])
        assert caught.value.reason == "FormatCheckFailed"


def test_a_changed_byte_of_a_file_is_found() -> None:
    data = bytearray(whole())
    at = data.index(b"iiii")
    data[at] ^= 1
    with pytest.raises(WorldFault, match=r"ibdata1 has another checksum"):
        looked_at(bytes(data))


@pytest.mark.parametrize("name", ["xtrabackup_checkpoints", "xtrabackup_info", "backup-my.cnf", "ib_logfile0"])
def test_without_what_no_server_starts_without_it_is_no_backup(name: str) -> None:
    with pytest.raises(WorldFault, match=r"lacks"):
        looked_at(whole({other: data for other, data in FILES.items() if other != name}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (piece("a", b"x") + piece("a", b"y", 2), "has a hole: a goes on at 2, after 1"),
        (piece("../a", b"x"), "outside of the data directory"),
        (piece("/etc/a", b"x"), "outside of the data directory"),
        (head(b"Q", "a"), "of kind"),
        (piece("a", b"x") + head(b"D", "a"), "removes a before"),
        (piece("a", b"x") + end("a") + piece("a", b"y"), "has a twice"),
        (head(b"D", "../a"), "outside of the data directory"),
        (b"XBSTCK02" + b"\0" * 20, "where a piece should begin"),
        (piece("xtrabackup_info", b"x" * 70_000), "more than"),
    ],
)
def test_what_no_program_would_write_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(WorldFault, match=said):
        looked_at(data)
