"""A server with people in it, a pod that erases one of them, and everything that could give that one away."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from databosun.api.backuptasks import ValidateTask
from databosun.api.dataexport import ExportOrder, ExportResult
from databosun.api.erasure import ErasureResult
from databosun.api.lifecycle import (
    ActionType,
    ForeignKeys,
    HoldOrder,
    LifecycleMode,
    LifecycleOrder,
    LimitsOrder,
    MaskMethod,
    MaskOrder,
    RuleOrder,
)
from databosun.api.lifecycletasks import EraseTask, ExportTask
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.erasure import subject_hash
from databosun.engines.postgresql import ENGINE
from support.agentrun import NAMESPACE, UID, Ran
from support.fakeengine import FakeEngine
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, Server
from support.recoverypod import RecoveryPod

PEOPLE, ERASER = "people", "eraser"
SUBJECT = "ada.lovelace+1815@example.org"
KEY = "5f2b8c1d9e7a46b0c3d4e5f60718293a5f2b8c1d9e7a46b0c3d4e5f60718293a"
REQUEST_UID = "7b7b2a0e-6c52-4a43-8c54-9d0a4b7d7c11"

# Rows that follow by a key, rows that let go of one, rows that only repeat the address, and a trigger that would tell.
TABLES = f"""
CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text);
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers ON DELETE CASCADE, note text);
CREATE TABLE lines (id bigint PRIMARY KEY, "order" bigint NOT NULL REFERENCES orders, what text);
CREATE TABLE visits (id bigint PRIMARY KEY, customer bigint REFERENCES customers ON DELETE SET NULL);
CREATE TABLE letters (id bigint, sent date, email varchar(200), body text, PRIMARY KEY (id, sent))
    PARTITION BY RANGE (sent);
CREATE TABLE letters_old PARTITION OF letters FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
CREATE TABLE letters_new PARTITION OF letters FOR VALUES FROM ('2025-01-01') TO ('2030-01-01');
CREATE TABLE told (email text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.told VALUES (old.email); RETURN old; END $$;
INSERT INTO customers SELECT i, 'person' || i || '@example.org', 'Person ' || i FROM generate_series(1, 500) AS i;
INSERT INTO customers VALUES (1815, '{SUBJECT}', 'Ada');
INSERT INTO orders SELECT i, 1 + i % 500, 'n' FROM generate_series(1, 2000) AS i;
INSERT INTO orders SELECT 10000 + i, 1815, 'hers' FROM generate_series(1, 7) AS i;
INSERT INTO lines SELECT i, i, 'w' FROM generate_series(1, 2000) AS i;
INSERT INTO lines SELECT 10000 + i, 10000 + i, 'hers' FROM generate_series(1, 7) AS i;
INSERT INTO visits SELECT i, 1 + i % 500 FROM generate_series(1, 300) AS i;
INSERT INTO visits VALUES (1815, 1815);
INSERT INTO letters SELECT i, date '2024-06-01' + i, 'person' || i || '@example.org', 'b'
    FROM generate_series(1, 400) AS i;
INSERT INTO letters VALUES (1815, '2024-01-01', '{SUBJECT}', 'dear Ada'), (1816, '2026-01-01', '{SUBJECT}', 'dear Ada');
GRANT SELECT, UPDATE, DELETE ON customers, orders, lines, visits, letters, letters_old, letters_new TO {ERASER};
GRANT INSERT ON told TO {ERASER};
"""
TRIGGER = "CREATE TRIGGER telling BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION tell()"


def populate(server: Server) -> None:
    """The database anew, and a login that may do what the documentation says, and no more."""
    server.sql(f"DROP DATABASE IF EXISTS {PEOPLE} WITH (FORCE)")
    server.sql(f"CREATE DATABASE {PEOPLE}")
    quoted = PASSWORD.replace("'", "''")
    for role, more in ((ERASER, "LOGIN"), (BACKUP_ROLE, "LOGIN REPLICATION")):
        if not server.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            server.sql(f"CREATE ROLE {role} {more} PASSWORD '{quoted}'")
    server.sql(f"GRANT pg_read_all_data, pg_read_all_settings TO {BACKUP_ROLE}")
    server.sql(TABLES, PEOPLE)


def rule(name: str, table: str, column: str, **more: Any) -> RuleOrder:
    """One table that a person stands in."""
    values: dict[str, Any] = {
        "name": name,
        "table": table,
        "subject_column": column,
        "action": ActionType.DELETE,
        "limits": LimitsOrder(max_rows_per_run=10_000, max_percent=100),
    }
    return RuleOrder(**{**values, **more})


def everywhere() -> list[RuleOrder]:
    """All of the tables: customers with what refers to them, and letters, whose address is overwritten."""
    masks = [
        MaskOrder(column="email", method=MaskMethod.FIXED, value="erased@example.invalid"),
        MaskOrder(column="body", method=MaskMethod.NULL),
    ]
    return [
        rule(
            "customers",
            "public.customers",
            "email",
            cascades=["orders", "lines", "visits"],
            foreign_keys=ForeignKeys.CHILDREN_FIRST,
        ),
        rule("letters", "public.letters", "email", action=ActionType.ANONYMIZE, masks=masks),
    ]


@dataclass
class Forgetter:
    """The pod beside a yard's server that erases, and pods that restore with the key or without."""

    yard: Any
    subject: str = SUBJECT
    key: str = KEY
    outputs: list[str] = field(default_factory=list)

    engine = ENGINE
    login = (ERASER, PASSWORD)

    def __post_init__(self) -> None:
        claimed = self.yard.place.run(ValidateTask(), engine=cast("FakeEngine", self.engine), database=self.database)
        assert claimed.code == 0, claimed.output

    @property
    def database(self) -> DatabaseTarget:
        """How the agent reaches it."""
        return DatabaseTarget(
            namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.POSTGRESQL, hosts=["127.0.0.1"],
            port=self.yard.server.port, database=PEOPLE, tls=TLSMode.DISABLE,
        )  # fmt: skip

    def task(self, rules: list[RuleOrder], name: str = "erase-1", **more: Any) -> EraseTask:
        """The order."""
        holds: list[HoldOrder] = more.pop("holds", [])
        order = LifecycleOrder(database_uid=UID, storage="prod", rules=rules, holds=holds)
        return EraseTask(**{"id": name, "uid": REQUEST_UID, "at": datetime.now(UTC), "order": order, **more})

    def run(self, task: EraseTask | ExportTask, attempt: int = 1) -> Ran:
        """A look, an erasure, or an export."""
        place = self.yard.place
        before = dict(place.secrets)
        place.secrets = {
            **{use: files for use, files in before.items() if use == "storage"},
            **({"database": dict(zip(("username", "password"), self.login, strict=True))} if self.login[0] else {}),
            "subject": {"subject": f"{self.subject}\n"},
            "erasure": {"key": self.key},
        }
        try:
            ran = place.run(task, engine=cast("FakeEngine", self.engine), database=self.database, attempt=attempt)
        finally:
            place.secrets = before
        self.outputs += [ran.output, ran.termination.decode()]
        return ran

    def everywhere(self) -> list[RuleOrder]:
        """The rules that name all places where a person stands."""
        return everywhere()

    def look(self, rules: list[RuleOrder] | None = None, **more: Any) -> ErasureResult:
        """What is found."""
        return erased(self.run(self.task(rules or self.everywhere(), **more)))

    def erase(self, rules: list[RuleOrder] | None = None, *, attempt: int = 1, **more: Any) -> Ran:
        """A look, its approval, and the erasure."""
        task = self.task(rules or self.everywhere(), **more)
        approved = more.get("approved") or erased(self.run(task)).plan_hash
        enforced = {"mode": LifecycleMode.ENFORCE, "approved": approved}
        return self.run(task.model_copy(update=enforced), attempt=attempt)

    def export(self, *rules: ExportOrder, name: str = "export-1", attempt: int = 1, **more: Any) -> Ran:
        """Hand over the person's rows."""
        given = {"id": name, "uid": REQUEST_UID, "database_uid": UID, "database": PEOPLE, "storage": "prod",
                 "rules": list(rules), "expires_seconds": 3600, **more}  # fmt: skip
        return self.run(ExportTask(**given), attempt=attempt)

    def exported(self, result: ExportResult, by: str = "id") -> dict[str, list[dict[str, Any]]]:
        """The rows of each table, decrypted from the store by its own tools; digests are compared."""
        key, found = self.yard.key, {}
        for one in result.files:
            stored = b"".join((self.yard.place.paths.volume / name).read_bytes() for name in one.objects)
            assert (len(stored), hashlib.sha256(stored).hexdigest()) == (one.stored_bytes, one.stored_sha256)
            plain = stored
            for argv in (["age", "--decrypt", "--identity", str(key.identity)], ["zstd", "-d"]):
                plain = subprocess.run(argv, input=plain, capture_output=True, check=True).stdout
            assert (len(plain), hashlib.sha256(plain).hexdigest()) == (one.bytes, one.sha256)
            lines = [json.loads(line) for line in plain.splitlines()]
            assert (len(lines), one.recipients) == (one.rows, [key.recipient])
            found[one.table] = sorted(lines, key=lambda row: str(row[by]) if by != "id" else row[by])
        return found

    def pod(self, key: str | None = None) -> RecoveryPod:
        """One that restores, with the key that is named, by default the right one."""
        pod: RecoveryPod = self.yard.pod()
        pod.secrets["erasure"] = {"key": self.key if key is None else key}
        return pod

    def counts(self, server: Any = None, dbname: str = PEOPLE) -> dict[str, int]:
        """Rows of every table, and those with the person."""
        return counts(server or self.yard.server, dbname)

    def objects(self) -> list[Path]:
        """All that lies in the store but the backups and the log themselves."""
        volume: Path = self.yard.place.paths.volume
        return [path for path in volume.rglob("*") if path.is_file() and "backups" not in path.parts]

    def entry(self, name: str = "erase-1") -> dict[str, Any]:
        """The ledger's entry."""
        (path,) = (one for one in self.objects() if one.parts[-3:] == ("_erasures", name, "entry.json"))
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    @property
    def hashed(self) -> str:
        """What stands for the subject."""
        return subject_hash(self.key.encode(), self.subject)


def counts(server: Server, dbname: str = PEOPLE) -> dict[str, int]:
    """Rows of every table, and of those with the person (`hers`), and references to nobody (`lost`)."""
    tables = ("customers", "orders", "lines", "visits", "letters")
    found = {name: int(server.sql(f"SELECT count(*) FROM {name}", dbname)[0][0]) for name in tables}
    for name, query in {
        "hers": f"SELECT (SELECT count(*) FROM customers WHERE email = '{SUBJECT}') +"
        f" (SELECT count(*) FROM letters WHERE email = '{SUBJECT}' OR body LIKE '%Ada%') +"
        f" (SELECT count(*) FROM orders WHERE note = 'hers') + (SELECT count(*) FROM lines WHERE what = 'hers')",
        "lost": "SELECT (SELECT count(*) FROM orders WHERE customer NOT IN (SELECT id FROM customers)) +"
        ' (SELECT count(*) FROM lines WHERE "order" NOT IN (SELECT id FROM orders)) +'
        " (SELECT count(*) FROM visits WHERE customer NOT IN (SELECT id FROM customers))",
        "told": "SELECT count(*) FROM told",
    }.items():
        found[name] = int(server.sql(query, dbname)[0][0])
    return found


def erased(ran: Ran) -> ErasureResult:
    """The part of the result that is an erasure's."""
    assert ran.result.erasure is not None, ran.output[-4000:]
    return ran.result.erasure
