"""FerretDB, the stand-in of mongod, for tests: on loopback and a Unix socket in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pymongo
from bson import Int64, ObjectId
from bson.timestamp import Timestamp
from pymongo.errors import PyMongoError

from support.pgserver import ROOT, free_port, hand_over, identity, open_folder
from support.waiting import eventually

PASSWORD = "it's: a \\ secret"
BACKUP_USER = "backup"
ADMIN = "administrator"
SET = "rs0"
_OPLOG_BYTES = 64 * 1024 * 1024

Client = pymongo.MongoClient[dict[str, Any]]


@cache
def programs() -> Path:
    """The folder with ferretdb, mongodump, mongorestore and bsondump."""
    done = subprocess.run([str(ROOT / "hack/mongodb/build")], check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


class MongoServer:
    """One server that demands logins. `remove` it in the end. `oplog`: it keeps one, as a replica set of one member."""

    def __init__(self, *, oplog: bool = True, more: Sequence[str] = (), data: Path | None = None) -> None:
        self.folder = open_folder("mongo")
        self.data = data or self.folder / "data"
        self.data.mkdir(exist_ok=True)
        self.port = free_port()
        self.socket = self.folder / "s.sock"
        self.more = ["-replset", SET, *more] if oplog else [*more]
        self.client: Client
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        if data is None:
            self.client.admin.command("createUser", BACKUP_USER, pwd=PASSWORD, roles=[])
            if oplog:
                self._keep_oplog()

    def start(self) -> None:
        """Start and wait until it answers."""
        hand_over(self.folder)
        hand_over(self.data)
        self.socket.unlink(missing_ok=True)
        argv = [str(programs() / "ferretdb"), "-tcp", f"127.0.0.1:{self.port}", "-unix", str(self.socket)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*argv, "-data", str(self.data), "-user", ADMIN, *self.more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "FERRETDB_PASSWORD": ADMIN},
                cwd=self.folder,
                **identity(),
            )
        where = f"mongodb://{quote_plus(str(self.socket))}"
        self.client = pymongo.MongoClient(
            where, username=ADMIN, password=ADMIN, directConnection=True, tz_aware=True, tzinfo=UTC,
            serverSelectionTimeoutMS=1000,
        )  # fmt: skip
        eventually("the server answers", self._answers, 60)

    def noop(self) -> None:
        """What an idle primary writes into its oplog every ten seconds: an entry that changes nothing. This server
        writes another of its own behind it, of the oplog's own collection."""
        last = next(iter(self.client.local["oplog.rs"].find().sort("$natural", -1).limit(1)), None)
        now = Timestamp(int(time.time()), 1)
        if last and last["ts"] >= now:
            now = Timestamp(last["ts"].time, last["ts"].inc + 1)
        entry = {"op": "n", "ns": "", "o": {"msg": "periodic noop"}, "t": Int64(1), "v": Int64(2)}
        self.client.local["oplog.rs"].insert_one({**entry, "ts": now, "wall": datetime.now(UTC)})

    def kill(self) -> None:
        """End it without warning."""
        self.client.close()
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it cleanly."""
        self.client.close()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=60)

    def remove(self) -> None:
        """Kill and delete."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sessions(self) -> int:
        """Connections over the network; the tests' own is over the socket."""
        said = subprocess.run(["ss", "-Htn", "state", "established", f"sport = :{self.port}"], capture_output=True,
                              text=True, check=True).stdout  # fmt: skip
        return len(said.splitlines())

    def _keep_oplog(self) -> None:
        self.client.local.create_collection("oplog.rs", capped=True, size=_OPLOG_BYTES)
        self.client.local["system.replset"].insert_one({"_id": SET, "settings": {"replicaSetId": ObjectId()}})
        self.noop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-4000:]
        try:
            self.client.admin.command("ping")
            self.client.admin.command("listDatabases")
        except PyMongoError:
            return False
        return True
