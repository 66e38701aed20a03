"""What comes back: a folder that servers start from, checks that notice what is wrong, and refusals before any harm."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from agent.redis.conftest import Workshop
from databosun.api.drill import Check, CheckOutcome, Level, PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.base import RestoreDoc
from databosun.engines.recovery import Copy
from databosun.engines.redis import ENGINE
from databosun.engines.redis.recovery.facts import demand_memory, read_backup
from support.redisdoc import followed, tools_of
from support.redisserver import PASSWORD, Server, content, family, open_socket, program, served

pytestmark = pytest.mark.servers


@pytest.fixture
def copy(servers: Callable[[str], Server], workshop: Workshop) -> Iterator[Copy]:
    """A copy of the shared Redis."""
    _, manifest = workshop.back_up(servers("redis"))
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        yield copy


@pytest.mark.parametrize("append", ["no", "yes"])
def test_a_finished_folder_is_what_a_server_starts_from(server: Server, workshop: Workshop, append: str) -> None:
    """Also one that keeps an append-only file, which never looks at dump.rdb, and would start empty."""
    with server.connect() as wire:
        before = content(wire)
    _, manifest = workshop.back_up(server)
    with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
        copy.finish()
        assert {"fetch", "restore", "replay", "start", "verify", "sync"} <= set(copy.seconds)
    data = workshop.folder / "place" / "data"
    steps = " ".join(ENGINE.hand_over(manifest, "data"))
    if server.product == "redis6":  # as the steps say
        assert "copy data/dump.rdb to data/appendonly.aof" in steps
        (data / "appendonly.aof").write_bytes((data / "dump.rdb").read_bytes())
    else:
        assert "appendonlydir" in steps
    assert before == served(server.product, data, workshop.folder, f"appendonly {append}")
    # What the server then writes stays apart from what was restored.
    assert before == served(server.product, data, workshop.folder, f"appendonly {append}")
    assert family(server.product).capitalize() in steps


def test_the_copy_talks_to_nobody(copy: Copy, servers: Callable[[str], Server]) -> None:
    """One socket in a folder that only its owner enters, no port, no child, and no replica at the source."""
    server = copy.server  # type: ignore[attr-defined]
    assert server.folder.stat().st_mode & 0o777 == 0o700
    pid = server._process.pid
    said = subprocess.run(["ss", "-tulpnH"], capture_output=True, text=True, check=True).stdout
    assert f"pid={pid}," not in said
    assert servers("redis").info("replication")["connected_slaves"] == "0"


def test_checks_say_what_is_there(copy: Copy) -> None:
    for check, outcome in (
        (_check("RowCount", table="user:*", min=2000, max=2000), "Passed"),
        (_check("RowCount", table="user:*", min=2001), "Failed"),
        (_check("RowCount", database="5", min=50), "Passed"),
        (_check("RowCount", database="9", min=1), "Failed"),
        (_check("Query", query="GET counter", value="42"), "Passed"),
        (_check("Query", query="HGET hash:small f", operator=">=", value="1"), "Passed"),
        (_check("Query", query="HGET hash:small absent", value="1"), "Failed"),
        (_check("Query", query="DBSIZE", database="5", operator=">", value="49"), "Passed"),
        (_check("Canary", query="GET plain", value="value"), "Passed"),
        (_check("Canary", query="GET plain", value="another"), "Failed"),
        (_check("SchemaHash"), "Skipped"), (_check("Collation"), "Skipped"), (_check("Extensions"), "Skipped"),
    ):  # fmt: skip
        found = copy.check(check)
        assert found.outcome == outcome, (check, found)


@pytest.mark.parametrize(
    "query",
    ["FLUSHALL", "SET plain 1", "CONFIG SET port 1", "REPLICAOF 127.0.0.1 6379", "EVAL 'return 1' 0", "",
     "LRANGE list 0 5", "NO_SUCH_COMMAND", "GET 'cut"],
)  # fmt: skip
def test_a_query_only_reads_one_value(copy: Copy, query: str) -> None:
    found = copy.check(_check("Query", query=query, value="1"))
    assert (found.outcome, found.reason) == (CheckOutcome.FAILED, "QueryFailed"), found
    assert copy.check(_check("Canary", query="GET plain", value="value")).outcome is CheckOutcome.PASSED


def test_freshness_reads_instants(servers: Callable[[str], Server], workshop: Workshop) -> None:
    server, now = servers("redis"), datetime.now(UTC)
    values = {
        "seconds": f"{now.timestamp():.0f}",
        "millis": f"{now.timestamp() * 1000:.0f}",
        "iso": now.isoformat(),
        "id": f"{now.timestamp() * 1000:.0f}-0",
        "old": (now - timedelta(days=1)).isoformat(),
        "bad": "yesterday",
    }
    server.calls([("SET", f"at:{name}", value) for name, value in values.items()], db=9)
    try:
        _, manifest = workshop.back_up(server)
    finally:
        server.calls([("FLUSHDB",)], db=9)
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        for name in values:
            found = copy.check(_check("Freshness", query=f"GET at:{name}", database="9", max_age_seconds=3600))
            wanted = {"old": ("Failed", "Stale"), "bad": ("Failed", "QueryFailed")}.get(name, ("Passed", None))
            assert (found.outcome, found.reason) == wanted, found
        absent = copy.check(_check("Freshness", query="GET absent", max_age_seconds=3600))
        assert (absent.outcome, absent.reason) == (CheckOutcome.FAILED, "Stale")


def test_a_copy_that_lost_keys_fails(servers: Callable[[str], Server], workshop: Workshop) -> None:
    """As when a server dropped what it should have loaded: counts and names tell."""
    _, manifest = workshop.back_up(servers("redis"))
    manifest["environment"]["databases"]["0"]["keys"] += 1
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        copy.server.connect().call("DEL", "plain")  # type: ignore[attr-defined]
        found = {one.name: one for one in (copy.check(check) for check in copy.builtin(Level.DEEP))}
    assert (found["keys"].outcome, found["keys"].reason) == (CheckOutcome.FAILED, "RowCountWrong")
    assert (found["names"].outcome, found["names"].reason) == (CheckOutcome.FAILED, "RowsDiffer")
    with pytest.raises(SafetyStop, match="ArtefactCorrupt"):
        ENGINE.inspect((manifest,), workshop.source(), lambda: None)


@pytest.mark.parametrize("where", ["stream", "inside", "cut"])
def test_a_damaged_artefact_is_noticed(servers: Callable[[str], Server], workshop: Workshop, where: str) -> None:
    """In the compressed stream, below it (a bit that compression hides), or at its end."""
    _, manifest = workshop.back_up(servers("redis"))
    path = workshop.folder / "cache-1" / "dump.rdb.zst"
    data = bytearray(path.read_bytes())
    if where == "inside":
        plain = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(bytes(data)))
        plain[len(plain) // 2] ^= 1
        data = bytearray(zstandard.ZstdCompressor().compress(bytes(plain)))
    elif where == "stream":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) // 2 :]
    path.write_bytes(bytes(data))
    with pytest.raises(SafetyStop, match="ArtefactCorrupt"):
        ENGINE.inspect((manifest,), workshop.source(), lambda: None)
    with (
        pytest.raises(SafetyStop, match="ArtefactCorrupt"),
        ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()),
    ):
        pass


def test_what_cannot_be_restored_here_is_refused(
    servers: Callable[[str], Server], workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, manifest = workshop.back_up(servers("valkey"))
    with pytest.raises(UserFault, match="LogMissing"):
        ENGINE.recover(
            workshop.plan(manifest, until=RecoveryPoint(kind=PointKind.LATEST)), workshop.source()
        ).__enter__()
    limit = tmp_path / "memory.max"
    limit.write_text("67108864\n")
    with pytest.raises(UserFault, match=r"MemoryTooSmall: .*resources\.limits\.memory"):
        demand_memory(read_backup(manifest), [limit])
    limit.write_text("max\n")
    demand_memory(read_backup(manifest), [limit])
    monkeypatch.setenv("DATABOSUN_REDIS_BIN", str(program("redis").parent))
    with pytest.raises(UserFault, match=r"RdbVersionUnsupported: .*VALKEY.*there is Redis 7\.0"):
        ENGINE.recover(workshop.plan(manifest), workshop.source()).__enter__()


def test_another_product_that_reads_it_is_said(
    servers: Callable[[str], Server], workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifest = workshop.back_up(servers("redis"))
    monkeypatch.setenv("DATABOSUN_REDIS_BIN", str(program("valkey").parent))
    with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
        assert "loaded by Valkey" in copy.notes[0]
        assert {copy.check(check).outcome for check in copy.builtin(Level.DEEP)} == {CheckOutcome.PASSED}


def test_a_backup_restores_by_its_document(server: Server, workshop: Workshop, tmp_path: Path) -> None:
    """The very commands of RESTORE.md, with standard tools; a wrong count is found by the document's own comparison."""
    with server.connect() as wire:
        before = content(wire)
    _, manifest = workshop.back_up(server)
    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    tools = tools_of(server.product, tmp_path / "tools")
    with followed(document, workshop.folder, tools) as (socket, output):
        assert "all keys there" in output
        with open_socket(socket) as wire:
            assert content(wire) == before
    manifest["environment"]["databases"]["0"]["keys"] += 1
    spoiled = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with pytest.raises(AssertionError, match="db0:keys="), followed(spoiled, workshop.folder, tools):
        pass
    assert PASSWORD not in document


def _check(kind: str, **more: Any) -> Check:
    return Check(name="one", type=kind, **more)  # type: ignore[arg-type]
