"""Real Redis and Valkey servers for tests, on loopback, each in a folder of its own."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from databosun.engines.redis.rdbfacts import name_hash
from databosun.engines.redis.resp import Reply, ReplyError, Wire, encode
from support.pgserver import ROOT, free_port
from support.waiting import eventually

USER = "backup"
PASSWORD = "it's: a \\ secret"
ADMIN = "administrator"
GRANTS = "+psync +replconf +info +ping +pubsub|numsub"
# The first is Debian's 7.0; the second is 6.2, which knows no functions and keeps its append-only file in one piece.
PRODUCTS = ("redis", "redis6", "valkey")
_TOOLS = {"redis6": "redis-6", "valkey": "valkey"}


@cache
def program(product: str) -> Path:
    """The server of a product: Debian's Redis, or a pinned one."""
    if product == "redis":
        found = shutil.which("redis-server")
        assert found, "hack/packages installs it"
        return Path(found)
    done = subprocess.run(
        [str(ROOT / "hack/tools/tools"), "get", _TOOLS[product]], check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip()) / f"{family(product)}-server"


def family(product: str) -> str:
    """As its programs are named."""
    return product.rstrip("0123456789")


class Server:
    """One server, started. `remove` in the end."""

    def __init__(
        self, product: str = "redis", *, settings: Sequence[str] = (), grants: str = GRANTS, sentinel: bool = False
    ) -> None:
        self.product = product
        self.folder = Path(tempfile.mkdtemp(prefix=f"databosun-{product}-"))
        self.port = free_port()
        self.mode = ["--sentinel"] if sentinel else []
        alone = ["repl-diskless-sync-delay 0", "repl-ping-replica-period 1", 'save ""']
        lines = [
            "bind 127.0.0.1", f"dir {self.folder}", "logfile log", *([] if sentinel else alone),
            f"user {ADMIN} on >{ADMIN} ~* &* +@all", "user default off",
            f'user {USER} on #{_sha256(PASSWORD)} resetchannels -@all {grants}',
        ]  # fmt: skip
        if not any(line.startswith(("port ", "tls-port ")) for line in settings):
            lines.append(f"port {self.port}")
        self.config = self.folder / "server.conf"
        self.config.write_text("\n".join([*lines, f"unixsocket {self.folder}/socket", *settings]) + "\n")
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        self.start_process()
        eventually(f"{self.product} answers", self._answers)

    def start_process(self) -> None:
        """Start it, and do not wait."""
        argv = [str(program(self.product)), str(self.config), *self.mode]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.folder)

    def call(self, *words: str | bytes | int, db: int = 0) -> Reply:
        """One command as the administrator."""
        with self.connect(db) as wire:
            return wire.call(*words)

    def calls(self, commands: Sequence[Sequence[str | bytes | int]], db: int = 0) -> list[Reply]:
        """Many commands, in batches."""
        found: list[Reply] = []
        with self.connect(db) as wire:
            for begin in range(0, len(commands), 500):
                batch = commands[begin : begin + 500]
                wire.send(b"".join(encode(*words) for words in batch))
                found += wire.answers(len(batch))
        assert not any(isinstance(one, ReplyError) for one in found), found[:3]
        return found

    def connect(self, db: int = 0) -> Wire:
        """The administrator's session."""
        wire = open_socket(self.folder / "socket")
        wire.call("AUTH", ADMIN, ADMIN)
        if db:
            wire.call("SELECT", db)
        return wire

    def info(self, section: str) -> dict[str, str]:
        """What INFO says."""
        said = self.call("INFO", section)
        assert isinstance(said, bytes)
        return dict(line.split(":", 1) for line in said.decode().splitlines() if ":" in line)

    def follow(self, master: Server, *, port: int | None = None) -> Server:
        """Become a replica, in step; `port`: of a link to the master."""
        self.calls([
            ("CONFIG", "SET", "masteruser", ADMIN), ("CONFIG", "SET", "masterauth", ADMIN),
            ("REPLICAOF", "127.0.0.1", port or master.port),
        ])  # fmt: skip
        eventually("the replica follows", lambda: self.info("replication").get("master_link_status") == "up")
        eventually("its master sees it", lambda: "state=online" in master.info("replication").get("slave0", ""))
        return self

    def keep(self) -> None:
        """Write all to a file from now on, also after a restart, and return once that is whole."""
        self.calls([("CONFIG", "SET", "appendonly", "yes"), ("CONFIG", "REWRITE")])

        def whole() -> bool:
            said = self.info("persistence")
            return said["aof_rewrite_in_progress"] == said["aof_rewrite_scheduled"] == "0"

        eventually("all is in its file", whole)

    def log(self) -> str:
        """What it logged."""
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """End it at once; harmless where it does not run."""
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        """Stop and delete."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            with self.connect() as wire:
                return wire.call("PING") == b"PONG"
        except (OSError, ReplyError):
            return False


def open_socket(path: Path) -> Wire:
    """A session over a Unix socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return Wire(connection, str(path))


def fill(server: Server) -> None:
    """Every type of value, in its small and its large form, names that look like numbers, functions, two databases."""
    commands: list[tuple[str | bytes | int, ...]] = [
        ("SET", "plain", "value"), ("SET", "12345", "1"), ("SET", "-70000", "x"), ("SET", "4000000000", "y"),
        ("SET", "k" * 100, "packed " * 400), ("SET", b"bin\x00\xff\r\n", b"\x00\xff"), ("SET", "large", "v" * 300_000),
        ("SET", "counter", 41), ("INCR", "counter"), ("SET", "", "the empty name"),
        ("RPUSH", "list", *range(3000)), ("RPUSH", "list:large", "l" * 20_000, "m"), ("SADD", "ints", *range(100)),
        ("SADD", "set", *(f"member {n}" for n in range(2000))), ("SADD", "set:small", "a", "b"),
        ("ZADD", "zset", *(part for n in range(500) for part in (n / 3, f"z{n}"))), ("ZADD", "zset:small", 1, "a"),
        ("HSET", "hash", *(part for n in range(800) for part in (f"field {n}", "v" * n))),
        ("HSET", "hash:small", "f", 1),
        ("PFADD", "hyperloglog", "a", "b"), ("SETBIT", "bits", 70_000, 1), ("GEOADD", "geo", "13.4", "52.5", "berlin"),
        *(("XADD", "stream", "*", "n", n, "text", "t" * (n % 50)) for n in range(300)),
        ("XGROUP", "CREATE", "stream", "readers", 0), ("XGROUP", "CREATE", "stream", "late", "$"),
        ("XREADGROUP", "GROUP", "readers", "one", "COUNT", 40, "STREAMS", "stream", ">"),
        ("XDEL", "stream", "1-1"), ("XADD", "stream:empty", "1-1", "a", "b"), ("XDEL", "stream:empty", "1-1"),
        ("SETEX", "lasts", 100_000, "v"), ("PSETEX", "lasts:packed:" + "p" * 40, 100_000_000, "v"),
        *(("SET", f"user:{n:020d}", f"name {n}") for n in range(2000)),
    ]  # fmt: skip
    if server.product != "redis6":
        library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
        commands.append(("FUNCTION", "LOAD", library))
    server.calls(commands)
    server.calls([("SET", f"other:{n}", n) for n in range(50)] + [("SETEX", "other:lasts", 100_000, 1)], db=5)


def content(wire: Wire) -> dict[str, tuple[int, int]]:
    """Per database: keys, and a hash over every key with its value and whether it expires, whatever their order."""
    found = {}
    said = wire.call("INFO", "keyspace")
    assert isinstance(said, bytes)
    for line in said.decode().splitlines():
        if line.startswith("db"):
            number = int(line[2 : line.index(":")])
            wire.call("SELECT", number)
            found[f"db{number}"] = _content(wire)
    return found


def _content(wire: Wire) -> tuple[int, int]:
    cursor, count, total = b"0", 0, 0
    while True:
        said = wire.call("SCAN", cursor, "COUNT", 500)
        assert isinstance(said, list)
        assert isinstance(said[0], bytes)
        assert isinstance(said[1], list)
        for name in said[1]:
            assert isinstance(name, bytes)
            left = wire.call("PTTL", name)
            assert isinstance(left, int)
            count, total = count + 1, total ^ name_hash(name + _value(wire, name) + (b"-" if left < 0 else b"+"))
        cursor = said[0]
        if cursor == b"0":
            return count, total


def _value(wire: Wire, name: bytes) -> bytes:
    """What a key holds; sets and hashes come in another order from each server."""
    kind = wire.call("TYPE", name)
    if kind == b"set":
        members = wire.call("SMEMBERS", name)
        assert isinstance(members, list)
        return repr(sorted(members, key=repr)).encode()
    if kind == b"hash":
        said = wire.call("HGETALL", name)
        assert isinstance(said, list)
        return repr(sorted(zip(said[::2], said[1::2], strict=True), key=repr)).encode()
    if kind == b"zset":
        return repr(wire.call("ZRANGE", name, 0, -1, "WITHSCORES")).encode()
    if kind == b"list":
        return repr(wire.call("LRANGE", name, 0, -1)).encode()
    if kind == b"stream":
        return repr((wire.call("XRANGE", name, "-", "+"), _groups(wire.call("XINFO", "GROUPS", name)))).encode()
    found = wire.call("GET", name)
    assert isinstance(found, bytes)
    return found


def _groups(reply: Reply) -> list[dict[object, object]]:
    """A stream's groups and how far each is; later versions say more of them."""
    assert isinstance(reply, list)
    kept = (b"name", b"consumers", b"pending", b"last-delivered-id")
    entries = [dict(zip(one[::2], one[1::2], strict=True)) for one in reply if isinstance(one, list)]
    return [{key: one[key] for key in kept} for one in entries]


def served(product: str, data: Path, folder: Path, *settings: str) -> dict[str, tuple[int, int]]:
    """What a server serves that starts from a data folder, and is then stopped cleanly."""
    with serving(product, data, folder, *settings) as place, open_socket(place) as wire:
        return content(wire)


@contextmanager
def serving(product: str, data: Path, folder: Path, *settings: str) -> Iterator[Path]:
    """The socket of a server that starts from a data folder, has loaded it, and is stopped cleanly in the end."""
    # The path of a socket has 107 characters at most.
    place, config = Path(tempfile.mkdtemp(prefix="served-")) / "socket", folder / "served.conf"
    lines = ["port 0", f"unixsocket {place}", f"dir {data}", f"logfile {folder}/served.log", *settings]
    config.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([str(program(product)), str(config)], stdout=subprocess.DEVNULL)
    try:
        eventually("it serves", lambda: _listens(place))
        with open_socket(place) as wire:
            eventually("it has loaded", lambda: b"\nloading:0" in _bytes(wire.call("INFO", "persistence")))
        yield place
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(place.parent)


def _listens(place: Path) -> bool:
    """A socket is there before anybody listens on it."""
    try:
        open_socket(place).close()
    except OSError:
        return False
    return True


def _bytes(reply: Reply) -> bytes:
    return reply if isinstance(reply, bytes) else b""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
