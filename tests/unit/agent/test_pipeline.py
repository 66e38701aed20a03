"""The pipeline: what comes out is what went in, and after any failure nothing is taken for an artefact."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from databosun.agent.pipeline import CHUNKS_AHEAD, PipelineWriter, Stored
from databosun.agent.sink import PipelineSink
from databosun.agent.stop import Stopped
from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.port import Buffer
from databosun.storage.volume import VolumeWriter
from support.agekeys import AgeKey, make_age_key
from support.fakeengine import MEBIBYTE, LengthCheck, stream_of
from support.waiting import eventually

from .conftest import Parts


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> AgeKey:
    return make_age_key(tmp_path_factory.mktemp("age"))


def fill(writer: PipelineWriter, size: int, seed: str = "x") -> bytes:
    whole = b"".join(stream_of(seed, size))
    for at in range(0, size, 100_000):
        piece = bytearray(whole[at : at + 100_000])
        writer.write(piece)
        piece[:] = b"\0" * len(piece)
    return whole


def stored_bytes(parts: Parts, stored: Stored) -> bytes:
    return b"".join(parts.store.get(part.key, limit=1 << 40) for part in stored.parts)


def names(parts: Parts) -> list[str]:
    return sorted(one.key for one in parts.store.list("a1"))


@pytest.mark.parametrize("size", [1, 100_000, MEBIBYTE, 5 * MEBIBYTE + 7])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_what_comes_out_is_what_went_in(
    parts: Parts, key: AgeKey, size: int, *, encrypted: bool, compress: bool
) -> None:
    sink = parts.sink(recipients=(key.recipient,) if encrypted else ())
    writer = sink.open("base.tar.zst", compress=compress, check=lambda: LengthCheck(size))
    whole = fill(writer, size)
    writer.finish()
    (stored,) = sink.close()
    data = stored_bytes(parts, stored)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.bytes == size
    assert stored.stored_bytes == len(data) == sum(part.bytes for part in stored.parts)
    assert names(parts) == [f"a1/base.tar.zst{'.age' if encrypted else ''}.0000"]
    plain = key.decrypt(data) if encrypted else data
    assert (zstandard.ZstdDecompressor().decompressobj().decompress(plain) if compress else plain) == whole


@pytest.mark.parametrize(("size", "volumes"), [(MEBIBYTE, 1), (3 * MEBIBYTE, 3), (3 * MEBIBYTE + 1, 4)])
def test_a_stream_is_split_into_volumes_with_digests_of_their_own(parts: Parts, size: int, volumes: int) -> None:
    sink = parts.sink(volume_bytes=MEBIBYTE)
    writer = sink.open("dump/16384.dat", compress=False)
    whole = fill(writer, size)
    writer.finish()
    (stored,) = sink.close()
    assert [part.key for part in stored.parts] == [f"a1/dump/16384.dat.{n:04d}" for n in range(volumes)]
    for number, part in enumerate(stored.parts):
        piece = whole[number * MEBIBYTE : (number + 1) * MEBIBYTE]
        assert (part.bytes, part.sha256) == (len(piece), hashlib.sha256(piece).hexdigest())
    assert stored.sha256 == hashlib.sha256(whole).hexdigest()


def test_an_empty_artefact_is_stored_as_such(parts: Parts) -> None:
    sink = parts.sink()
    sink.open("empty", compress=False).finish()
    (stored,) = sink.close()
    assert (stored.bytes, stored.stored_bytes, len(stored.parts)) == (0, 0, 1)


def test_the_engine_s_word_on_the_size_goes_before_the_check_s(parts: Parts) -> None:
    class Knows(LengthCheck):
        def close(self) -> int | None:
            return 42

    sink = parts.sink()
    for name, logical in (("a", 7), ("b", None)):
        writer = sink.open(name, compress=False, check=lambda: Knows(3))
        writer.write(b"xyz")
        writer.finish(logical_bytes=logical)
    assert [one.bytes for one in sink.close()] == [7, 42]


def test_a_plain_file_keeps_its_name_and_is_not_encrypted(parts: Parts, key: AgeKey) -> None:
    sink = parts.sink(recipients=(key.recipient,))
    sink.put_plain("backup_manifest", b"{}")
    (stored,) = sink.close()
    assert (stored.plain, stored.encrypted) == (True, False)
    assert parts.store.get("a1/backup_manifest", limit=9) == b"{}"


def failing(parts: Parts, sink: PipelineSink, expected: type[Exception], check: LengthCheck | None = None) -> Exception:
    writer = sink.open("base.tar", compress=True, check=(lambda: check) if check else None)
    with pytest.raises(expected) as caught:  # noqa: PT012 - whichever of the two notices first
        fill(writer, 40 * MEBIBYTE)
        writer.finish()
    sink.abort()
    assert sink.close() == ()
    assert names(parts) == []
    return caught.value


def test_a_failed_format_check_is_the_verdict(parts: Parts) -> None:
    error = WorldFault("TruncatedTar", "the end of the archive is missing")
    assert failing(parts, parts.sink(), WorldFault, LengthCheck(40 * MEBIBYTE, error)) is error


def test_a_killed_age_is_a_failure_with_its_name(parts: Parts, key: AgeKey) -> None:
    sink = parts.sink(recipients=(key.recipient,))
    writer = sink.open("base.tar", compress=False)
    fill(writer, 3 * MEBIBYTE)
    age = writer._age  # the very process, to be killed as the kernel would for want of memory
    assert age
    os.kill(age.child.process.pid, signal.SIGKILL)
    with pytest.raises(WorldFault, match=r"EncryptionFailed: age was killed by signal 9"):  # noqa: PT012 - either notices
        fill(writer, 40 * MEBIBYTE)
        writer.finish()
    sink.abort()
    assert (sink.close(), names(parts)) == ((), [])


def test_an_age_that_ends_early_and_well_is_no_success(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "age"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nhead -c 100000\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    sink = parts.sink(recipients=("age1x",))
    writer = sink.open("base.tar", compress=False)
    with pytest.raises(WorldFault, match=r"EncryptionFailed: age (closed its input|ended after)"):  # noqa: PT012 - either notices
        fill(writer, 40 * MEBIBYTE)
        writer.finish()
    sink.abort()
    assert (sink.close(), names(parts)) == ((), [])


def test_a_recipient_that_age_refuses_is_the_user_s_to_mend(parts: Parts) -> None:
    with pytest.raises(UserFault, match=r"EncryptionRecipientInvalid: age refuses a recipient of spec\.encryption"):  # noqa: PT012
        writer = parts.sink(recipients=("age1nonsense",)).open("base.tar", compress=False)
        fill(writer, 40 * MEBIBYTE)
        writer.finish()
    assert names(parts) == []


@pytest.mark.parametrize("fails_in", ["write", "close"])
def test_a_storage_that_refuses_is_the_verdict(parts: Parts, monkeypatch: pytest.MonkeyPatch, fails_in: str) -> None:
    def refuse(*_: object) -> None:
        raise WorldFault("StorageFull", "no more")

    monkeypatch.setattr(VolumeWriter, fails_in, refuse)
    assert "StorageFull" in str(failing(parts, parts.sink(), WorldFault))


def test_a_bug_in_a_check_is_not_swallowed(parts: Parts) -> None:
    failing(parts, parts.sink(), ZeroDivisionError, LengthCheck(40 * MEBIBYTE, ZeroDivisionError()))


def test_what_reads_back_otherwise_is_no_artefact(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    close = VolumeWriter.close

    def corrupt(writer: VolumeWriter) -> None:
        close(writer)
        (path,) = (parts.folder / "a1").iterdir()
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(VolumeWriter, "close", corrupt)
    sink = parts.sink()
    writer = sink.open("base.tar", compress=False)
    fill(writer, MEBIBYTE)
    with pytest.raises(WorldFault, match=r"UploadCorrupt: a1/base\.tar\.0000 .* reads back with SHA-256"):
        writer.finish()
    assert sink.close() == ()


def test_stopping_wakes_an_engine_that_waits_for_a_slow_storage(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, free, ended = threading.Event(), threading.Event(), threading.Event()
    seen: list[BaseException] = []

    def hang(*_: object) -> None:
        stuck.set()
        free.wait()

    monkeypatch.setattr(VolumeWriter, "write", hang)
    sink = parts.sink()

    def engine() -> None:
        writer = sink.open("base.tar", compress=False)
        try:
            fill(writer, 40 * MEBIBYTE)
        except Stopped as error:
            seen.append(error)
        ended.set()

    threading.Thread(target=engine, daemon=True).start()
    assert stuck.wait(30)
    parts.stop.set("Interrupted", "told to")
    free.set()
    assert ended.wait(30)
    assert [error.reason for error in seen if isinstance(error, Stopped)] == ["Interrupted"]
    assert names(parts) == []


def test_a_slow_storage_holds_the_engine_up(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded memory: the engine is never further ahead than the queue is deep."""
    write, taken, ahead = VolumeWriter.write, [0], [0]

    def slow(writer: VolumeWriter, data: Buffer) -> None:
        taken[0] += len(data)
        write(writer, data)

    monkeypatch.setattr(VolumeWriter, "write", slow)
    writer = parts.sink().open("base.tar", compress=False)
    given = 0
    for piece in stream_of("x", 60 * MEBIBYTE):
        writer.write(bytearray(piece))
        given += len(piece)
        ahead.append(given - taken[0])
    writer.finish()
    assert max(ahead) <= (CHUNKS_AHEAD + 4) * MEBIBYTE
    assert writer._channel.deepest <= CHUNKS_AHEAD


def test_one_thread_finishes_one_artefact_before_the_next(parts: Parts) -> None:
    sink = parts.sink()
    writer = sink.open("a", compress=False)
    with pytest.raises(RuntimeError, match="a must be finished before the same thread opens b"):
        sink.open("b", compress=False)
    writer.finish()
    sink.open("b", compress=False).finish()
    with pytest.raises(RuntimeError, match="a was stored already"):
        sink.open("a", compress=False)


def test_an_artefact_left_open_is_no_success(parts: Parts) -> None:
    sink = parts.sink()
    sink.open("a", compress=False)
    with pytest.raises(RuntimeError, match="never finished: a"):
        sink.close()
    sink.abort()


def in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def test_several_threads_store_large_and_small_artefacts_side_by_side(parts: Parts) -> None:
    sink, wholes = parts.sink(), {}

    def store(name: str, size: int) -> None:
        writer = sink.open(name, compress=False)
        wholes[name] = fill(writer, size, name)
        writer.finish()

    sizes = {"a": 20, "b": 18, "c": 1, "d": 17, "e": 2}
    in_threads([lambda name=name, size=size: store(name, size * MEBIBYTE) for name, size in sizes.items()])  # type: ignore[misc]  # the defaults bind the loop's values
    stored = {one.name: one for one in sink.close()}
    assert {name: stored_bytes(parts, stored[name]) for name in sizes} == wholes


def test_nothing_of_a_pipeline_outlives_it(parts: Parts, key: AgeKey) -> None:
    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if "lasting" in thread.name or "age" in thread.name}

    sink = parts.sink(recipients=(key.recipient,))
    writer = sink.open("lasting", compress=True)
    fill(writer, MEBIBYTE)
    assert ours()
    sink.abort()
    eventually("the threads have ended", lambda: not ours())
