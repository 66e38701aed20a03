"""Reading artefacts back: whole and right, or an error that names the damage."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.backups import Chosen, choose, source_of
from databosun.agent.children import Children
from databosun.agent.context import Context
from databosun.agent.fetch import ChainSource
from databosun.agent.log import Log
from databosun.agent.pipeline import Lane
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.redact import Redactor
from databosun.agent.secrets import Secrets
from databosun.agent.sink import PipelineSink
from databosun.agent.stop import Stop, Stopped
from databosun.api.backuptasks import CatalogTask
from databosun.api.restoretasks import BackupRef
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.domain.sealing import canonical, digest_of
from databosun.storage.manifest import Artefact, StoredFile
from support.agekeys import AgeKey, make_age_key
from support.agentrun import Ran, Workplace, backup_task
from support.fakeengine import FakeEngine, stream_of
from support.pemkeys import pem_of

SIZE = 5_000_003


def taken(place: Workplace) -> Ran:
    """A backup of an engine that streams known bytes."""
    ran = place.run(backup_task("orders-1"), engine=FakeEngine(artefacts={"base.tar.zst": SIZE}))
    assert ran.code == 0, ran.output
    return ran


def context(place: Workplace) -> Context:
    """What a restore has at hand."""
    request = place.request(CatalogTask())
    place.write(request)
    redactor = Redactor()
    log, stop = Log(io.StringIO(), redactor), Stop()
    secrets = Secrets(place.paths.secrets, request.secrets, "shop")
    children = Children(stop, redactor)

    def now() -> datetime:
        return datetime.now(UTC)

    return Context(request, place.paths, secrets, log, stop, children, Progress(log), now, lambda _: FakeEngine())


def ref(ran: Ran) -> BackupRef:
    """The backup as the operator knows it."""
    assert ran.result.backup
    return BackupRef(id="orders-1", database="orders", manifest_sha256=ran.result.backup.checksum)


def open_source(place: Workplace, ran: Ran) -> ChainSource:
    """The backup, its manifest verified."""
    ctx = context(place)
    return source_of(ctx, choose(ctx, ref(ran)))


def read_all(source: ChainSource) -> bytes:
    """The one large artefact."""
    pieces = []
    with source.open("orders-1", "base.tar.zst") as stream:
        while data := stream.read():
            pieces.append(bytes(data))
    return b"".join(pieces)


def stumble(source: ChainSource) -> None:
    """Fail over the first bytes, as an engine does that cannot make sense of them."""
    with source.open("orders-1", "base.tar.zst") as stream:
        stream.read()
        raise UserFault("Stumbled", "these bytes are no archive")


def stored(place: Workplace) -> Path:
    """The object that holds it."""
    (found,) = place.paths.volume.rglob("base.tar.zst*.0000")
    return found


@pytest.fixture(params=["plain", "encrypted"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Workplace:
    """A pod with a volume, with and without encryption."""
    place = Workplace(tmp_path / "pod")
    if request.param == "encrypted":
        encrypt(place, make_age_key(tmp_path))
    return place


def encrypt(place: Workplace, key: AgeKey) -> None:
    """Take backups to this recipient, and mount its identity."""
    place.storage["age_recipients"] = [key.recipient]
    place.secrets["age-0"] = {"identity": key.identity.read_text()}


def test_what_was_stored_is_read_back(place: Workplace) -> None:
    source = open_source(place, taken(place))
    assert read_all(source) == b"".join(stream_of("base.tar.zst", SIZE))
    assert source.read_plain("orders-1", "backup_manifest") == b'{"files": []}'
    assert source.names("orders-1") == ("base.tar.zst", "backup_manifest")


@pytest.mark.parametrize("at", [0, 40, SIZE // 2, SIZE - 1])
def test_a_flipped_bit_is_found_and_the_object_named(place: Workplace, at: int) -> None:
    source = open_source(place, taken(place))
    path = stored(place)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(SafetyStop) as caught:
        read_all(source)
    assert caught.value.reason == AgentReason.ARTEFACT_CORRUPT
    assert path.name in caught.value.message


def test_a_cut_object_is_found(place: Workplace) -> None:
    source = open_source(place, taken(place))
    path = stored(place)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SafetyStop) as caught:
        read_all(source)
    assert caught.value.reason == AgentReason.ARTEFACT_CORRUPT


def test_a_missing_object_is_named(place: Workplace) -> None:
    source = open_source(place, taken(place))
    stored(place).unlink()
    with pytest.raises(SafetyStop) as caught:
        read_all(source)
    assert caught.value.reason == AgentReason.ARTEFACT_MISSING


def test_damage_explains_what_the_reader_stumbled_over(place: Workplace) -> None:
    source = open_source(place, taken(place))
    path = stored(place)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SafetyStop) as caught:
        stumble(source)
    assert caught.value.reason == AgentReason.ARTEFACT_CORRUPT


def test_the_readers_own_error_stands_where_the_bytes_are_right(place: Workplace) -> None:
    source = open_source(place, taken(place))
    with pytest.raises(UserFault, match="Stumbled"):
        stumble(source)


def test_the_rest_is_read_where_the_reader_has_enough(place: Workplace) -> None:
    source = open_source(place, taken(place))
    with source.open("orders-1", "base.tar.zst") as stream:
        stream.read()
    path = stored(place)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SafetyStop), source.open("orders-1", "base.tar.zst") as stream:
        stream.read()


def test_a_stop_ends_the_reading(place: Workplace) -> None:
    ran = taken(place)
    ctx = context(place)
    source = source_of(ctx, choose(ctx, ref(ran)))
    ctx.stop.set("Interrupted", "told to")
    with pytest.raises(Stopped):
        read_all(source)


def test_the_wrong_identity_is_said(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    encrypt(place, make_age_key(tmp_path))
    ran = taken(place)
    place.secrets["age-0"] = {"identity": make_age_key(tmp_path, "other.txt").identity.read_text()}
    with pytest.raises(UserFault) as caught:
        read_all(open_source(place, ran))
    assert caught.value.reason == AgentReason.IDENTITY_WRONG


def test_no_identity_is_said(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    encrypt(place, make_age_key(tmp_path))
    ran = taken(place)
    del place.secrets["age-0"]
    with pytest.raises(UserFault) as caught:
        read_all(open_source(place, ran))
    assert caught.value.reason == AgentReason.IDENTITY_MISSING


def test_one_of_several_identities_is_enough(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    key = make_age_key(tmp_path)
    encrypt(place, key)
    ran = taken(place)
    place.secrets["age-0"] = {"identity": make_age_key(tmp_path, "other.txt").identity.read_text()}
    place.secrets["age-1"] = {"identity": key.identity.read_text()}
    assert len(read_all(open_source(place, ran))) == SIZE


def test_volumes_are_joined(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    ran = taken(place)
    ctx = context(place)
    chosen = choose(ctx, ref(ran))
    folder = chosen.last.folder.attempt(1)
    sink = PipelineSink(Lane(ctx.store, folder, [], ctx.children, ctx.stop, ctx.progress, 1_000_000))
    writer = sink.open("big.bin", compress=False)
    data = b"".join(stream_of("big", 3_500_000))
    writer.write(data)
    writer.finish()
    (stored_one,) = sink.close()
    parts = [StoredFile(name=stored_one.part_name(one), bytes=one.bytes, sha256=one.sha256) for one in stored_one.parts]
    assert len(parts) == 4
    sizes = {"bytes": stored_one.bytes, "stored_bytes": stored_one.stored_bytes}
    artefact = Artefact(name="big.bin", sha256=stored_one.sha256, parts=parts, **sizes)
    manifest = chosen.last.manifest.model_copy(update={"artefacts": [artefact]})
    source = source_of(ctx, Chosen((replace(chosen.last, manifest=manifest),)))
    assert source.read_plain("orders-1", "big.bin") == data
    swapped = artefact.model_copy(update={"parts": [parts[1], parts[0], *parts[2:]]})
    wrong = manifest.model_copy(update={"artefacts": [swapped]})
    with pytest.raises(SafetyStop):
        source_of(ctx, Chosen((replace(chosen.last, manifest=wrong),))).read_plain("orders-1", "big.bin")


@pytest.mark.parametrize("forge", ["swap", "edit"])
def test_another_manifest_is_refused_before_anything_else(tmp_path: Path, forge: str) -> None:
    place = Workplace(tmp_path / "pod")
    ran = taken(place)
    (path,) = place.paths.volume.rglob("orders-1/manifest.json")
    if forge == "edit":
        path.write_bytes(path.read_bytes().replace(b'"attempt":1', b'"attempt":2'))
    else:
        assert place.run(backup_task("orders-2")).code == 0
        (other,) = place.paths.volume.rglob("orders-2/manifest.json")
        path.write_bytes(other.read_bytes())
    with pytest.raises(SafetyStop) as caught:
        open_source(place, ran)
    assert caught.value.reason == "ManifestForged"


def test_a_signature_is_demanded_where_the_storage_signs(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    ran = taken(place)
    place.storage |= {"signed": True, "public_key": pem_of(Ed25519PrivateKey.generate())[1]}
    with pytest.raises(SafetyStop) as caught:
        open_source(place, ran)
    assert caught.value.reason == "SignatureInvalid"


def test_a_backup_that_is_gone_is_said(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    ran = taken(place)
    (path,) = place.paths.volume.rglob("orders-1/manifest.json")
    path.unlink()
    with pytest.raises(UserFault) as caught:
        open_source(place, ran)
    assert caught.value.reason == AgentReason.BACKUP_MISSING


def test_a_path_in_a_manifest_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "pod")
    taken(place)
    (path,) = place.paths.volume.rglob("orders-1/manifest.json")
    document = json.loads(path.read_bytes())
    document["artefacts"][0]["parts"][0]["name"] = "../../../elsewhere"
    data = canonical(document)
    path.write_bytes(data)
    ctx = context(place)
    with pytest.raises(DatabosunError) as caught:
        choose(ctx, BackupRef(id="orders-1", database="orders", manifest_sha256=digest_of(data)))
    assert "elsewhere" in caught.value.message
