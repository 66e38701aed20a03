"""MongoDB for the conformance suite: its stand-in, FerretDB."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus

import pymongo

from databosun.api.drill import Check, CheckType
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mongodb.positions import FILE_SECONDS
from support.engineyard import EngineYard
from support.mongosample import ORDERS, content
from support.mongoserver import BACKUP_USER, PASSWORD, Client, MongoServer, programs
from support.recoverypod import RecoveryPod
from support.waiting import eventually

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class MongoYard(EngineYard):
    """A filled server."""

    server: MongoServer | None = None
    name = EngineName.MONGODB
    method = Method.LOGICAL
    username = BACKUP_USER
    password = PASSWORD
    incremental = True

    @property
    def its(self) -> MongoServer:
        """The server."""
        assert self.server is not None
        return self.server

    @property
    def port(self) -> int:
        """Of the server."""
        return self.its.port

    def contents(self) -> object:
        """Documents and indexes."""
        return content(self.its.client)

    def change(self) -> None:
        """Documents more, others, and fewer."""
        shop = self.its.client.shop
        shop.orders.insert_one({"_id": "later", "total": 1})
        shop.orders.update_many({"customer": 3}, {"$set": {"note": "changed"}})
        shop.orders.delete_many({"customer": 4})
        shop.customers.insert_one({"name": "later", "email": "later@example.org"})

    def roll(self) -> None:
        """A file is of one minute."""
        minute = time.time() // FILE_SECONDS
        eventually("another minute has begun", lambda: time.time() // FILE_SECONDS > minute, 2 * FILE_SECONDS)
        self.its.client.shop.orders.insert_one({"_id": "rolled"})

    def sessions(self) -> int:
        """Of the backup's account: the tests' own are over the socket."""
        return self.its.sessions()

    def broken_query(self) -> Check:
        """Of documents that are not there."""
        return self.good_query().model_copy(update={"value": "1"})

    def good_query(self) -> Check:
        """Of documents that are."""
        return Check(
            name="orders", type=CheckType.QUERY, database="shop", query='{"count": "orders"}', value=str(ORDERS)
        )

    @contextmanager
    def served(self, data: Path) -> Iterator[object]:
        """Started as a StatefulSet would, with logins."""
        other = MongoServer(data=data)
        try:
            yield content(other.client)
        finally:
            other.remove()

    @contextmanager
    def followed(self, markdown: str, folder: Path) -> Iterator[object]:
        """In one shell. Users and indexes are those of the original: FerretDB takes neither from mongorestore."""
        with followed(markdown, folder) as (client, output):
            assert "all documents there" in output
            original, found = content(self.its.client), content(client)
            users = {name: what for name, what in original.items() if name.startswith("admin.")}
            yield {name: (*what[:2], original[name][2]) for name, what in found.items()} | users

    def pod(self) -> RecoveryPod:
        """With the server's program."""
        return self.fresh_pod(environment={"DATABOSUN_MONGODB_BIN": str(programs())})


@contextmanager
def followed(markdown: str, folder: Path) -> Iterator[tuple[Client, str]]:
    """A session with the copy that a RESTORE.md makes, and what was printed; the copy is ended in the end."""
    blocks = _BLOCK.findall(markdown)
    assert blocks, "the document has no commands"
    script = folder / "restore.sh"
    script.write_text("trap 'echo \"$PRIVATE\" > place' EXIT\n" + "\n".join(blocks))
    env = {"PATH": os.environ["PATH"], "MONGODB_BIN": str(programs()), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            ["bash", script.name], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"following the document failed:\n{(done.stdout + done.stderr)[-6000:]}"
        place = Path((folder / "place").read_text().strip())
        client: Client = pymongo.MongoClient(
            f"mongodb://{quote_plus(str(place / 's.sock'))}", directConnection=True, tz_aware=True
        )
        with client:
            yield client, done.stdout
    finally:
        place = Path((folder / "place").read_text().strip())
        with suppress(OSError, ValueError):
            os.kill(int((place / "pid").read_text()), signal.SIGKILL)
