"""What a backup of the stand-in holds: byte for byte what mongodump writes, and of one instant."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
import zstandard
from bson import json_util

from agent.mongodb.conftest import Workshop, target_of
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import RestoreDoc
from databosun.engines.mongodb import ENGINE
from databosun.engines.mongodb.recovery.facts import read_chain
from databosun.engines.mongodb.restore_doc import _lay_out
from support.mongosample import ODD_DATABASE, ODD_NAME, ORDERS, content
from support.mongoserver import ADMIN, PASSWORD, MongoServer, programs
from support.pgserver import hand_over, open_folder
from support.tls import Certificate, make_certificate

pytestmark = pytest.mark.servers


def laid_out(workshop: Workshop, *chain: dict[str, Any]) -> Path:
    """The folder that RESTORE.md makes of the artefacts, by its own commands."""
    text = "\n".join(_lay_out(read_chain(chain)))
    script = text.split("```bash\n")[1].split("```")[0]
    dump = workshop.folder / "dump-restored"
    head = f'set -euo pipefail; cd {workshop.folder}; BASE="$PWD/{chain[0]["id"]}" DUMP="{dump}"\n'
    subprocess.run(["bash", "-c", head + script], check=True, capture_output=True, timeout=60)
    return dump


def dumped(server: MongoServer, folder: Path) -> Path:
    """What mongodump writes of the same server."""
    argv = [str(programs() / "mongodump"), f"--host=127.0.0.1:{server.port}", f"--username={ADMIN}",
            f"--password={ADMIN}", "--authenticationDatabase=admin", "--oplog", f"--out={folder}"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_files_are_those_that_mongodump_writes(server: MongoServer, workshop: Workshop, tmp_path: Path) -> None:
    """Names, documents, what describes them, and the oplog."""
    _, manifest = workshop.back_up(server)
    ours, theirs = laid_out(workshop, manifest), dumped(server, tmp_path / "theirs")
    names = {str(path.relative_to(theirs)) for path in theirs.rglob("*") if path.is_file()} - {"prelude.json"}
    assert {str(path.relative_to(ours)) for path in ours.rglob("*") if path.is_file()} == names
    assert f"{ODD_DATABASE}/a+b%2F%C3%BC%25x-y~%2B.bson" in names
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_counts_are_those_of_the_server(server: MongoServer, workshop: Workshop) -> None:
    captured, manifest = workshop.back_up(server)
    counts = {one.name: one.rows for one in captured.objects}
    assert counts["shop.orders"] == ORDERS
    assert counts[f"{ODD_DATABASE}.{ODD_NAME}"] == 5
    assert counts["shop.nothing"] == 0
    assert all(one.fingerprint for one in captured.objects)
    assert captured.schema_hash
    assert (captured.type, captured.method) == (BackupType.FULL, Method.LOGICAL)
    assert captured.notes == ("AutoMethod: Logical, because this release takes no physical backups of MongoDB",)
    assert PASSWORD not in str(manifest)
    without, _ = workshop.back_up(server, "orders-2", fingerprints=False)
    assert not any(one.fingerprint for one in without.objects)
    assert any(note.startswith("FingerprintsOff") for note in without.notes)


def test_what_is_written_while_it_is_read_is_in_it_as_of_its_end(
    own_server: Callable[..., MongoServer], workshop: Workshop
) -> None:
    """Collections are read one after the other; what happens to those that were read already must not be lost."""
    server = own_server()
    for name in ("a", "b", "c"):
        server.client.shop[name].insert_many({"_id": n, "v": 0} for n in range(500))
    server.noop()
    rounds = iter(range(1000))

    def write(_name: str, _count: int) -> None:
        step = next(rounds)
        for name in ("a", "b", "c"):
            server.client.shop[name].update_one({"_id": step}, {"$set": {"v": step + 1}})
            server.client.shop[name].delete_one({"_id": 400 + step})
            server.client.shop[name].insert_one({"_id": f"new {step}"})

    captured, manifest = workshop.back_up(server, trap=write)
    after_oplog = next(rounds)
    assert after_oplog > 3
    assert any(note.startswith("NotCounted: ") for note in captured.notes)
    assert {one.name for one in captured.objects if one.rows is None} >= {"shop.a", "shop.b"}
    end = captured.position.optime
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        assert copy.reached.position.optime == end
        with copy.server.client() as client:  # type: ignore[attr-defined]
            found = {name: {one["_id"]: one for one in client.shop[name].find()} for name in ("a", "b", "c")}
    assert found == replayed_by_hand(server, end or "")


def replayed_by_hand(server: MongoServer, end: str) -> dict[str, dict[Any, Any]]:
    """What three collections hold after every entry of the whole oplog up to `end`, from the first insert on."""
    found: dict[str, dict[Any, Any]] = {"a": {}, "b": {}, "c": {}}
    for one in server.client.local["oplog.rs"].find().sort("$natural", 1):
        name = one["ns"].removeprefix("shop.")
        if name in found:
            what = one["o"].get("$set", one["o"])
            if one["op"] == "d":
                del found[name][what["_id"]]
            else:
                found[name][what["_id"]] = what
        if f"{one['ts'].time}:{one['ts'].inc}" == end:
            return found
    raise AssertionError(end)


def test_a_server_without_an_oplog_is_backed_up_only_where_that_is_wanted(
    own_server: Callable[..., MongoServer], workshop: Workshop
) -> None:
    server = own_server(oplog=False)
    server.client.shop.orders.insert_one({"_id": 1})
    findings = ENGINE.probe(target_of(server), [Method.AUTO], incremental=True).findings
    assert {one.reason for one in findings} == {"NoOplog", "IncrementalUnsupported"}
    assert not any(one.blocks for one in findings)
    assert findings[0].fix
    assert "rs.initiate()" in findings[0].fix
    with pytest.raises(UserFault, match=r"NoOplog: .*consistency: Partial.*rs\.initiate"):
        workshop.back_up(server)
    captured, manifest = workshop.back_up(server, "orders-2", consistency="Partial")
    assert any(note.startswith("NoOplog: ") for note in captured.notes)
    assert captured.position.optime is None
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        assert any("several instants" in note for note in copy.notes)
    again, _ = workshop.back_up(server, "orders-3", on=manifest, consistency="Partial")
    assert again.type is BackupType.FULL
    assert any(note.startswith("IncrementalUnsupported: ") for note in again.notes)


@pytest.mark.parametrize(
    ("method", "reason"), [(Method.PHYSICAL, "UnsupportedMethod"), (Method.SNAPSHOT, "UnsupportedMethod")]
)
def test_a_method_that_it_does_not_have(server: MongoServer, workshop: Workshop, method: Method, reason: str) -> None:
    assert ENGINE.probe(target_of(server), [method], incremental=False).findings[0].blocks == [method.value]
    with pytest.raises(UserFault, match=reason):
        workshop.back_up(server, method=method)


def test_one_database_means_the_whole_server_and_that_is_said(server: MongoServer, workshop: Workshop) -> None:
    captured, _ = workshop.back_up(server, target=target_of(server, database="shop"))
    assert any(note.startswith("WholeServer: ") for note in captured.notes)
    assert any(one.name.startswith(f"{ODD_DATABASE}.") for one in captured.objects)


def test_a_hook_is_one_command(server: MongoServer) -> None:
    target = target_of(server, database="hooked")

    def run(sql: str) -> None:
        ENGINE.run_hook(target, Hook(name="one", sql=sql, timeout="10s"))

    try:
        run('{"insert": "marks", "documents": [{"_id": {"$numberLong": "5"}}]}')
        assert list(server.client.hooked.marks.find()) == [{"_id": 5}]
        for bad in ("not json", "[]", "{}", '{"noSuchCommand": 1}'):
            with pytest.raises(UserFault, match="HookFailed: hook one"):
                run(bad)
    finally:
        server.client.drop_database("hooked")
        server.noop()


@pytest.fixture(scope="module")
def certificates() -> Iterator[tuple[Certificate, Certificate]]:
    """One of a server, which its user can read, and one of nobody."""
    folder = open_folder("tls")
    good, bad = make_certificate(folder, "good"), make_certificate(folder, "bad")
    hand_over(folder)
    yield good, bad
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("mode", "right", "host", "reason"),
    [
        ("Require", False, "127.0.0.1", None),
        ("VerifyCA", True, "127.0.0.1", None),
        ("VerifyFull", True, "localhost", None),
        ("VerifyFull", False, "localhost", "TLSFailure"),
        ("VerifyCA", False, "localhost", "TLSFailure"),
        ("Disable", False, "127.0.0.1", "ConnectionLost"),
    ],
)
def test_tls(
    own_server: Callable[..., MongoServer],
    certificates: tuple[Certificate, Certificate],
    mode: str,
    right: bool,
    host: str,
    reason: str | None,
) -> None:
    good, bad = certificates
    server = own_server(oplog=False, more=["-tls-cert", str(good.cert), "-tls-key", str(good.key)])
    target = target_of(server, tls=mode, host=host, ca=(good if right else bad).ca)  # type: ignore[arg-type]
    if reason is None:
        assert ENGINE.probe(target, [Method.AUTO], incremental=False).reachable
    else:
        with pytest.raises(DatabosunError) as caught:
            ENGINE.probe(target, [Method.AUTO], incremental=False)
        assert caught.value.reason == reason


def test_a_server_without_tls_is_said(server: MongoServer) -> None:
    with pytest.raises(UserFault, match="TLSNotOffered"):
        ENGINE.probe(target_of(server, tls="Require"), [Method.AUTO], incremental=False)  # type: ignore[arg-type]


def test_the_oplog_of_a_chain_is_one_that_mongodbs_own_tool_reads(
    own_server: Callable[..., MongoServer], workshop: Workshop
) -> None:
    """By the commands of RESTORE.md. Its replay was not seen: mongorestore asks for applyOps, which FerretDB lacks."""
    server = own_server()
    server.client.shop.orders.insert_many({"_id": n} for n in range(10))
    _, full = workshop.back_up(server)
    server.client.shop.orders.insert_many({"_id": n} for n in range(10, 20))
    _, more = workshop.back_up(server, "orders-2", on=full)
    dump = laid_out(workshop, full, more)
    done = subprocess.run(
        [str(programs() / "bsondump"), str(dump / "oplog.bson")], capture_output=True, text=True, timeout=60, check=True
    )
    entries = [json_util.loads(line) for line in done.stdout.splitlines()]
    times = [one["ts"] for one in entries]
    assert times == sorted(times)
    assert [one["o"]["_id"] for one in entries if one["op"] == "i"][-10:] == list(range(10, 20))
    # What a MongoDB's document says besides cannot be run here; that it can be read is seen.
    chain = tuple({**one, "environment": {**one["environment"], "product": "MongoDB"}} for one in (full, more))
    document = ENGINE.restore_instructions(RestoreDoc(chain[-1], chain))
    blocks = "\n".join(part.split("```")[0] for part in document.split("```bash\n")[1:])
    subprocess.run(["bash", "-n"], input=blocks, text=True, check=True, timeout=60)
    assert 'mongod --dbpath "$RESTORED"' in blocks
    assert "--oplogReplay" in blocks
    assert "--noIndexRestore" not in blocks
    assert document.index(full["id"]) < document.index(more["id"] + "/oplog.bson.zst")


def test_artefacts_are_what_bson_reads(server: MongoServer, workshop: Workshop) -> None:
    workshop.back_up(server)
    data = (workshop.folder / "orders-1" / "dump/shop/orders.bson.zst").read_bytes()
    documents = bson.decode_all(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    assert documents == list(server.client.shop.orders.find())
    assert content(server.client)["shop.orders"][0] == len(documents)
