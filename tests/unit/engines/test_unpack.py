"""Archives are unpacked below their own root and nowhere else, and only whole ones count."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from databosun.domain.errors import SafetyStop
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.unpack import unpack


class Pieces:
    """Compressed bytes in pieces of an odd size."""

    name = "base.tar.zst"

    def __init__(self, data: bytes, size: int = 1013) -> None:
        self._pieces = [data[at : at + size] for at in range(0, len(data), size)]

    def read(self, size: int = 0) -> bytes:
        """The next piece."""
        return self._pieces.pop(0) if self._pieces else b""


def member(
    name: str, data: bytes | None = None, *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """One entry of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data or b"")
    return info, data or b""


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A compressed archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return zstandard.ZstdCompressor().compress(out.getvalue())


def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path) -> None:
    big = os.urandom(3_000_001)
    data = archive(
        member("base", kind=tarfile.DIRTYPE),
        member("base/1/1259", big),
        member("PG_VERSION", b"18\n"),
        member("base/1/empty", b""),
        member("pg_tblspc/16385", kind=tarfile.SYMTYPE, link="/srv/live/space"),
    )
    unpack(Pieces(data), tmp_path / "to")
    assert (tmp_path / "to/base/1/1259").read_bytes() == big
    assert (tmp_path / "to/PG_VERSION").read_text() == "18\n"
    assert (tmp_path / "to/base/1/empty").stat().st_size == 0
    assert not os.path.lexists(tmp_path / "to/pg_tblspc/16385")
    assert (tmp_path / "to/base/1/1259").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 1, 4095, 2**20 - 1, 2**20, 2**20 + 1, 2**22, 2**22 + 4096, 2**23 + 12345])
def test_files_of_any_size_come_out_whole(tmp_path: Path, size: int) -> None:
    big = os.urandom(size)
    unpack(
        Pieces(archive(member("before", b"b"), member("file", big), member("after", b"a")), 700_001), tmp_path / "to"
    )
    assert (tmp_path / "to/file").read_bytes() == big
    assert (tmp_path / "to/after").read_bytes() == b"a"


def test_a_file_system_without_direct_writes_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.open

    def without(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return plain(path, flags, mode)

    monkeypatch.setattr(os, "open", without)
    big = os.urandom(2**22 + 77)
    unpack(Pieces(archive(member("file", big))), tmp_path / "to")
    assert (tmp_path / "to/file").read_bytes() == big


def test_frames_follow_each_other(tmp_path: Path) -> None:
    out = zstandard.ZstdDecompressor().decompress(archive(member("a", b"x" * 5000)), max_output_size=100_000)
    half = len(out) // 2
    data = b"".join(zstandard.ZstdCompressor().compress(piece) for piece in (out[:half], out[half:]))
    assert unpack(Pieces(data), tmp_path / "to") == len(out)
    assert (tmp_path / "to/a").read_bytes() == b"x" * 5000


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside", b"x"),
        member("base/../../outside", b"x"),
        member("/etc/passwd", b"x"),
        member("link", kind=tarfile.SYMTYPE, link="/etc"),
        member("hard", kind=tarfile.LNKTYPE, link="PG_VERSION"),
        member("device", kind=tarfile.CHRTYPE),
        member("pipe", kind=tarfile.FIFOTYPE),
    ],
    ids=lambda one: one[0].name,
)
def test_a_member_that_leads_elsewhere_is_refused(tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(SafetyStop) as caught:
        unpack(Pieces(archive(member("PG_VERSION", b"18\n"), bad)), tmp_path / "to")
    assert caught.value.reason == Reason.UNSAFE_ARCHIVE
    assert bad[0].name in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_a_member_never_overwrites_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/PG_VERSION").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        unpack(Pieces(archive(member("PG_VERSION", b"18\n"))), tmp_path / "to")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_archive_is_no_backup(tmp_path: Path, keep: float) -> None:
    data = archive(member("base/1", os.urandom(50_000)), member("base/2", os.urandom(50_000)))
    with pytest.raises(SafetyStop) as caught:
        unpack(Pieces(data[: int(len(data) * keep)]), tmp_path / "to")
    assert caught.value.reason == Reason.ARTEFACT_CORRUPT


def test_bytes_that_are_no_zstd_are_named(tmp_path: Path) -> None:
    with pytest.raises(SafetyStop) as caught:
        unpack(Pieces(b"no zstd at all" * 100), tmp_path / "to")
    assert caught.value.reason == Reason.ARTEFACT_CORRUPT
    assert "base.tar.zst" in caught.value.message


def test_what_the_source_raises_is_passed_on(tmp_path: Path) -> None:
    class Broken(Pieces):
        def read(self, size: int = 0) -> bytes:
            raise SafetyStop("ArtefactCorrupt", "the digest is another")

    with pytest.raises(SafetyStop, match="the digest is another"):
        unpack(Broken(b""), tmp_path / "to")
