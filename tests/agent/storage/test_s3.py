"""The S3 store against a real server: every operation of the port, and what it says when refused."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.storage.layout import Layout
from databosun.storage.owner import Claimant, Claimed, claim
from databosun.storage.port import AlreadyExists, ObjectMissing
from databosun.storage.s3 import S3ObjectStore
from databosun.storage.s3_access import Patience
from databosun.storage.verify import Written, verify_object
from support.fakeengine import MEBIBYTE, stream_of
from support.faultproxy import fault_proxy
from support.seaweed import READER_KEY, READER_SECRET, Seaweed, free_ports
from support.tls import make_certificate

pytestmark = pytest.mark.servers
HASTY = Patience(connect=timedelta(seconds=2), request=timedelta(seconds=20), retries=1, retry_for=timedelta(seconds=5))
PART = 5 * MEBIBYTE  # the smallest that S3 allows


@pytest.fixture
def bucket(weed: Seaweed) -> str:
    return weed.bucket()


@pytest.fixture
def store(weed: Seaweed, bucket: str) -> S3ObjectStore:
    return S3ObjectStore(dataclasses.replace(weed.access(bucket), part_bytes=PART))


def upload(store: S3ObjectStore, key: str, size: int) -> Written:
    """Stream an object, and say what was written as the pipeline does."""
    writer = store.open_writer(key, max_bytes=size)
    whole = b"".join(stream_of(key, size))
    for at in range(0, size, MEBIBYTE):
        writer.write(whole[at : at + MEBIBYTE])
    writer.close()
    parts = [hashlib.sha256(whole[at : at + PART]).digest() for at in range(0, size, PART)] or [
        hashlib.sha256().digest()
    ]
    composite = f"{hashlib.sha256(b''.join(parts)).hexdigest()}-{len(parts)}"
    return Written(key, size, hashlib.sha256(whole).hexdigest(), composite)


def test_a_small_object_is_read_back_with_its_metadata(store: S3ObjectStore) -> None:
    store.put("a/b", b"hello", metadata={"plain-sha256": "1"})
    assert store.get("a/b", limit=5) == b"hello"
    head = store.head("a/b")
    assert (head.size, dict(head.metadata)) == (5, {"plain-sha256": "1"})
    assert abs(head.modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert store.checksums("a/b").sha256 == hashlib.sha256(b"hello").hexdigest()
    with pytest.raises(WorldFault, match="ObjectTooLarge"):
        store.get("a/b", limit=4)


def test_a_second_conditional_write_is_refused(store: S3ObjectStore) -> None:
    store.put("a/b", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("a/b", b"second", if_absent=True)
    assert store.get("a/b", limit=9) == b"first"


def test_of_many_conditional_writers_exactly_one_wins(store: S3ObjectStore) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            store.put("a/b", b"%d" % number, if_absent=True)
        except AlreadyExists:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("a/b", limit=9) == b"%d" % won[0]


def test_a_replacement_needs_the_object_that_was_read(store: S3ObjectStore) -> None:
    store.put("a/b", b"one")
    etag = store.head("a/b").etag
    assert etag
    store.replace("a/b", b"two", etag=etag)
    with pytest.raises(AlreadyExists):
        store.replace("a/b", b"three", etag=etag)
    assert store.get("a/b", limit=9) == b"two"


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12345])
def test_a_stream_arrives_whole_and_the_server_vouches_for_it(store: S3ObjectStore, size: int) -> None:
    written = upload(store, "a/big", size)
    known = store.checksums("a/big")
    assert written.composite == known.composite or written.sha256 == known.sha256
    verify_object(store, written, download_below=0)
    verify_object(store, written)
    assert hashlib.sha256(b"".join(store.stream("a/big"))).hexdigest() == written.sha256


def test_a_range_is_exactly_that_range(store: S3ObjectStore) -> None:
    upload(store, "a/big", 20 * MEBIBYTE)
    whole = b"".join(stream_of("a/big", 20 * MEBIBYTE))
    assert b"".join(store.stream("a/big", start=1000, end=17_000_001)) == whole[1000:17_000_001]


@pytest.mark.parametrize("field", ["bytes", "sha256", "composite"])
@pytest.mark.parametrize("download_below", [0, 1 << 40])
def test_an_object_that_is_not_what_was_written_is_found_out(
    store: S3ObjectStore, field: str, download_below: int
) -> None:
    good = upload(store, "a/big", 4 * PART + 7)
    changes: dict[str, Any] = {"bytes": good.bytes + 1, "sha256": "0" * 64, "composite": "0" * 64 + "-5"}
    bad = dataclasses.replace(good, **{field: changes[field]})
    unseen = field == "composite" if download_below else field == "sha256"
    if unseen:
        verify_object(store, bad, download_below=download_below)
        return
    with pytest.raises(WorldFault, match="UploadCorrupt"):
        verify_object(store, bad, download_below=download_below)


def test_an_aborted_upload_leaves_nothing(weed: Seaweed, store: S3ObjectStore, bucket: str) -> None:
    writer = store.open_writer("a/big", max_bytes=1 << 30)
    for piece in stream_of("x", 3 * PART, MEBIBYTE):
        writer.write(piece)
    assert weed.uploads(bucket) == ["a/big"]
    writer.abort()
    writer.abort()
    assert weed.uploads(bucket) == []
    assert weed.keys(bucket) == []


def test_stale_uploads_are_aborted_and_active_ones_spared(weed: Seaweed, store: S3ObjectStore, bucket: str) -> None:
    for key in ("p/shop/a/1", "p/shop/b/1", "p/other/1"):
        weed.client.create_multipart_upload(Bucket=bucket, Key=key)
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert store.abort_uploads("p/shop", before=datetime.now(UTC) - timedelta(hours=1)) == ()
    assert store.abort_uploads("p/shop", before=soon, sparing=["p/shop/b"]) == ("p/shop/a/1",)
    assert weed.uploads(bucket) == ["p/other/1", "p/shop/b/1"]


def test_listing_sees_folders_as_folders(store: S3ObjectStore) -> None:
    keys = {"r/a/1", "r/a/2", "r/a-b/1", "r/c", "rx/1"}
    for key in keys:
        store.put(key, b"x")
    assert {one.key for one in store.list("r")} == keys - {"rx/1"}
    assert {one.key for one in store.list("r/a")} == {"r/a/1", "r/a/2"}
    assert store.folders("r") == ("a", "a-b")
    assert store.folders("nowhere") == ()
    assert list(store.list("nowhere")) == []


def test_listing_goes_over_pages(weed: Seaweed, store: S3ObjectStore) -> None:
    for number in range(1105):
        store.put(f"r/{number:05d}", b"")
    assert len(list(store.list("r"))) == 1105
    assert store.delete([one.key for one in store.list("r")]) == ()
    assert list(store.list("r")) == []


def test_deleting_tells_nothing_of_what_was_not_there(weed: Seaweed, store: S3ObjectStore, bucket: str) -> None:
    store.put("a/b", b"x")
    store.put("a/bc", b"x")
    assert store.delete(["a/b", "a/never"]) == ()
    assert weed.keys(bucket) == ["a/bc"]
    with pytest.raises(ObjectMissing):
        store.head("a/b")
    with pytest.raises(ObjectMissing):
        store.get("a/b", limit=1)


def test_deleting_in_a_versioned_bucket_leaves_no_version(weed: Seaweed) -> None:
    bucket = weed.bucket(lock=True)
    store = weed.store(bucket)
    for number in range(3):
        store.put("a/b", b"%d" % number)
    weed.client.delete_object(Bucket=bucket, Key="a/b")
    store.put("a/b", b"last")
    assert store.delete(["a/b"]) == ()
    versions = weed.client.list_object_versions(Bucket=bucket)
    assert versions.get("Versions", []) == versions.get("DeleteMarkers", []) == []


def test_a_foreign_owner_is_refused_and_adoption_is_conditional(store: S3ObjectStore) -> None:
    layout, now = Layout("prod", "shop"), datetime.now(UTC)
    claim(store, layout, Claimant("one", "prod"), now)
    with pytest.raises(SafetyStop, match="StorageOwnedByAnother"):
        claim(store, layout, Claimant("two", "prod"), now)
    assert claim(store, layout, Claimant("two", "prod", "one"), now) == Claimed("two", adopted=True)
    with pytest.raises(SafetyStop, match="StorageOwnedByAnother"):
        claim(store, layout, Claimant("one", "prod"), now)


def refusal(store: S3ObjectStore) -> dict[str, Exception]:
    """What each way into the store says."""

    def stream() -> None:
        writer = store.open_writer("k", max_bytes=1)
        writer.write(b"x")
        writer.close()

    ways: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("k", b"x"),
        "get": lambda: store.get("k", limit=9),
        "head": lambda: store.head("k"),
        "list": lambda: list(store.list("k")),
        "folders": lambda: store.folders("k"),
        "stream": stream,
        "checksums": lambda: store.checksums("k"),
        "delete": lambda: store.delete(["k"]),
    }
    said: dict[str, Exception] = {}
    for name, way in ways.items():
        with pytest.raises((UserFault, WorldFault)) as caught:
            way()
        said[name] = caught.value
    return said


@pytest.mark.parametrize(("field", "value"), [("secret_key", "wrong"), ("access_key", "AKNOBODY0000000")])
def test_wrong_credentials_name_the_secret(weed: Seaweed, bucket: str, field: str, value: str) -> None:
    wrong: dict[str, Any] = {field: value}
    said = refusal(S3ObjectStore(dataclasses.replace(weed.access(bucket), **wrong)))
    for way, error in said.items():
        assert isinstance(error, UserFault), (way, error)
        assert error.reason in {"StorageCredentialsInvalid", "StorageAccessDenied"}, (way, error)
        assert "Secret s3" in error.message, (way, error)
        assert f"bucket {bucket} at {weed.endpoint}" in error.message, (way, error)
    assert isinstance(said["put"], UserFault)
    assert said["put"].reason == "StorageCredentialsInvalid"


def test_a_missing_grant_is_named(weed: Seaweed, bucket: str) -> None:
    access = dataclasses.replace(weed.access(bucket), access_key=READER_KEY, secret_key=READER_SECRET)
    with pytest.raises(UserFault, match=r"StorageAccessDenied: .* grant read, write, list and delete .* Secret s3"):
        S3ObjectStore(access).put("k", b"x")


def test_a_missing_bucket_is_named(weed: Seaweed) -> None:
    access = dataclasses.replace(weed.access("no-such-bucket"), access_key=READER_KEY, secret_key=READER_SECRET)
    with pytest.raises(UserFault, match="there is no bucket no-such-bucket at"):
        list(S3ObjectStore(access).list("k"))


def test_a_store_that_does_not_answer_is_worth_another_try(weed: Seaweed, bucket: str) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    for way, error in refusal(weed.store(bucket, endpoint=endpoint, patience=HASTY)).items():
        assert isinstance(error, WorldFault), (way, error)
        assert error.reason == "StorageUnreachable", (way, error)
        assert endpoint in error.message, (way, error)


def test_tls_needs_the_ca_that_signed(weed: Seaweed, bucket: str, tmp_path: Path) -> None:
    ours, other = make_certificate(tmp_path, "ours"), make_certificate(tmp_path, "other")
    with fault_proxy(weed.endpoint, tls=(ours.cert, ours.key)) as proxy:
        access = dataclasses.replace(weed.access(bucket, endpoint=proxy.endpoint, patience=HASTY), ca_secret="s3-ca")
        good = S3ObjectStore(dataclasses.replace(access, ca=ours.ca))
        good.put("k", b"x")
        assert good.get("k", limit=1) == b"x"
        assert good.checksums("k").sha256
        for ca, named in ((other.ca, "Secret s3-ca"), (None, "Secret s3-ca")):
            with pytest.raises(UserFault, match="StorageTLSFailure") as refused:
                S3ObjectStore(dataclasses.replace(access, ca=ca)).put("k", b"x")
            assert named in refused.value.message
            with pytest.raises(UserFault, match="StorageTLSFailure"):
                S3ObjectStore(dataclasses.replace(access, ca=ca)).checksums("k")


def test_https_to_a_server_without_tls_says_so(weed: Seaweed, bucket: str) -> None:
    endpoint = weed.endpoint.replace("http://", "https://")
    with pytest.raises((UserFault, WorldFault), match=r"Storage(TLSFailure|Unreachable)") as refused:
        weed.store(bucket, endpoint=endpoint, patience=HASTY).put("k", b"x")
    assert isinstance(refused.value, UserFault), refused.value
