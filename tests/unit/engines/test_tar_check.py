"""The stream checks: whole streams pass whatever the size of their pieces, damaged ones never do."""

from __future__ import annotations

import io
import random
import tarfile
from typing import IO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.dumpcheck import DumpCheck, GlobalsCheck
from databosun.engines.postgresql.tarcheck import TarCheck
from databosun.engines.postgresql.tarstream import END_OF_ARCHIVE, TarWalk, member_header, member_padding
from databosun.engines.postgresql.zstdframes import FrameScan

FILES = {
    "PG_VERSION": b"18\n",
    "base/1/1259": bytes(8192) * 3,
    "empty": b"",
    "base/5/noise": random.Random(7).randbytes(70_001),
}


def tar_of(files: dict[str, bytes]) -> bytes:
    """As the server writes it: a header a file, two empty blocks at the end."""
    parts = [member_header(name, len(data), 0) + data + member_padding(len(data)) for name, data in files.items()]
    return b"".join(parts) + END_OF_ARCHIVE


def zstd_of(data: bytes, *, checksum: bool = False) -> bytes:
    """One frame without a content size, as a stream has."""
    writer = zstandard.ZstdCompressor(level=1, write_checksum=checksum).compressobj()
    return writer.compress(data) + writer.flush()


def feed(check: TarCheck | DumpCheck | FrameScan | GlobalsCheck, data: bytes, piece: int) -> None:
    """Hand over in pieces from a buffer that is overwritten afterwards, as the agent's is."""
    buffer = bytearray(piece)
    for start in range(0, len(data), piece):
        part = data[start : start + piece]
        buffer[: len(part)] = part
        check.feed(memoryview(buffer)[: len(part)])
        buffer[:] = bytes(piece)


def see_through(check: TarCheck | DumpCheck | GlobalsCheck, data: bytes, piece: int = 4096) -> int:
    """Feed and close; what the agent does with a stream."""
    try:
        feed(check, data, piece)
        return check.close()
    finally:
        if isinstance(check, TarCheck):
            check.stop()


@pytest.mark.parametrize("piece", [1, 511, 512, 4096, 1_000_000])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_whole_archive_passes(piece: int, compressed: bool) -> None:
    tar = tar_of(FILES)
    check = TarCheck("base.tar", compressed=compressed)
    feed(check, zstd_of(tar) if compressed else tar, piece)
    assert check.close() == len(tar)
    assert check.sizes == {name: len(data) for name, data in FILES.items()}


def test_our_tar_is_what_tar_reads() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(FILES))) as archive:
        read = {member.name: archive.extractfile(member) for member in archive}
        assert {name: file.read() for name, file in read.items() if file} == FILES


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_cut_archive_never_passes(data: st.DataObject) -> None:
    compressed = data.draw(st.booleans())
    tar = tar_of(FILES)
    stream = zstd_of(tar, checksum=data.draw(st.booleans())) if compressed else tar
    kept = data.draw(st.integers(0, len(stream) - 1))
    check = TarCheck("base.tar", compressed=compressed)
    with pytest.raises(WorldFault) as caught:
        see_through(check, stream[:kept])
    assert caught.value.reason == "FormatCheckFailed"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000_000), st.integers(1, 255))
def test_a_damaged_frame_with_a_checksum_never_passes(position: int, flip: int) -> None:
    stream = bytearray(zstd_of(tar_of(FILES), checksum=True))
    stream[position % len(stream)] ^= flip
    check = TarCheck("base.tar", compressed=True)
    reason = None
    try:
        see_through(check, bytes(stream))
    except WorldFault as fault:
        reason = fault.reason
    # Two bits of the frame header mean nothing to a decoder; then every byte must have come out right.
    whole = check.sizes == {name: len(data) for name, data in FILES.items()}
    assert reason == "FormatCheckFailed" or (reason is None and whole)


@pytest.mark.parametrize(
    ("tar", "said"),
    [
        (tar_of(FILES) + b"x" * 512, "goes on behind"),
        (b"x" * 512, "no tar header"),
        (tar_of({"a": b"1"})[:-1024] + tar_of({"a": b"2"}), "twice"),
        (b"", "no end-of-archive"),
        (END_OF_ARCHIVE[:512], "no end-of-archive"),
    ],
)
def test_what_is_no_archive_is_named(tar: bytes, said: str) -> None:
    with pytest.raises(WorldFault, match=said):
        see_through(TarCheck("base.tar", compressed=False), tar)


def test_a_bomb_of_zeros_is_walked_in_bounded_pieces() -> None:
    """A page of zeros compresses a thousandfold: what comes out of one piece must not be held at once."""
    seen: list[int] = []

    class Watching(TarWalk):
        def write(self, data: memoryview | bytes) -> int:
            seen.append(len(data))
            return super().write(data)

    watching = cast("IO[bytes]", Watching("x"))
    writer = zstandard.ZstdDecompressor().stream_writer(watching, write_size=1024 * 1024)
    tar = tar_of({"zeros": bytes(64 * 1024 * 1024)})
    writer.write(zstd_of(tar))
    assert sum(seen) == len(tar)
    assert max(seen) <= 1024 * 1024


@given(st.lists(st.binary(max_size=300_000), min_size=1, max_size=4), st.booleans(), st.integers(1, 5000))
@settings(max_examples=60, deadline=None)
def test_frames_of_any_content_are_whole_and_cut_ones_are_not(
    contents: list[bytes], checksum: bool, piece: int
) -> None:
    frames = [zstd_of(content, checksum=checksum) for content in contents]
    skippable = (0x184D2A51).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    stream = frames[0] + skippable + b"".join(frames[1:])
    scan = FrameScan("x")
    feed(scan, stream, piece)
    scan.close()
    assert scan.frames == len(frames)
    cut = FrameScan("x")
    feed(cut, stream[:-1], piece)
    with pytest.raises(WorldFault, match="cut in its frame"):
        cut.close()


def dump_of(files: dict[str, bytes]) -> bytes:
    """The tar of a dump."""
    return tar_of({f"db-shop/{name}": data for name, data in files.items()})


GOOD_DUMP = {"1.dat.zst": zstd_of(b"rows"), "2.dat.gz": b"\x1f\x8brest", "toc.dat": b"PGDMP\x01"}


def test_a_whole_dump_passes() -> None:
    check = DumpCheck("db-shop.tar")
    feed(check, dump_of(GOOD_DUMP), 700)
    assert check.close() == len(dump_of(GOOD_DUMP))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"1.dat.zst": GOOD_DUMP["1.dat.zst"][:-2]}, "cut in its frame"),
        ({"1.dat.zst": b"no zstd at all"}, "does not begin as zstd does"),
        ({"2.dat.gz": b"plain"}, "begins with b'plain'"),
        ({"toc.dat": b"nonsense"}, "expected b'PGDMP'"),
    ],
)
def test_a_spoiled_member_is_named(spoil: dict[str, bytes], said: str) -> None:
    with pytest.raises(WorldFault, match=said):
        see_through(DumpCheck("db-shop.tar"), dump_of(GOOD_DUMP | spoil))


def test_a_dump_without_its_table_of_contents() -> None:
    check = DumpCheck("db-shop.tar")
    feed(check, dump_of({"1.dat.zst": GOOD_DUMP["1.dat.zst"]}), 4096)
    with pytest.raises(WorldFault, match=r"no toc\.dat"):
        check.close()


def test_globals_end_with_the_programs_last_words() -> None:
    text = b"--\n" * 3000 + b"-- PostgreSQL database cluster dump complete\n--\n\n"
    check = GlobalsCheck()
    feed(check, text, 100)
    assert check.close() == len(text)
    cut = GlobalsCheck()
    feed(cut, text[:-60], 100)
    with pytest.raises(WorldFault, match="closing line is missing"):
        cut.close()
