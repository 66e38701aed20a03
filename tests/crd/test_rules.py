"""What fields have to do with each other: each rule, broken once, and the sentence that the API server says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from crd.objects import Object, Place, good, with_value, without
from crd.server import Server, refusal

pytestmark = pytest.mark.api


@dataclass(frozen=True, slots=True)
class Broken:
    """A good object, changed so that it breaks one rule: values to set, fields to take away, what is said."""

    kind: str
    name: str
    says: str
    put: tuple[tuple[str, Any], ...] = ()
    drop: tuple[str, ...] = ()

    def body(self) -> Object:
        """The changed object."""
        body = good(self.kind, self.name)
        for path, value in self.put:
            body = with_value(body, _place(path), value)
        for path in self.drop:
            body = without(body, _place(path))
        return body


def _place(path: str) -> Place:
    return tuple(int(step) if step.isdigit() else step for step in f"spec.{path}".split("."))


REF = {"name": "x"}
KEY = {"name": "x", "key": "k"}
INCREMENTAL = [{"name": "incr", "type": "Incremental", "cron": "0 * * * *"}]

BROKEN = [
    Broken("Database", "small", "connection is required unless engine is RDS", drop=("connection",)),
    Broken("Database", "cloud", "rds is required by engine RDS, and for that engine only", drop=("rds",)),
    Broken(
        "Database",
        "small",
        "rds is required by engine RDS, and for that engine only",
        put=(("rds", {"instance": "a", "region": "r", "engine": "MySQL"}),),
    ),
    Broken("Database", "files", "dataVolume is for engine MariaDB only", put=(("engine", "MySQL"),)),
    Broken(
        "Database",
        "files",
        "dataVolume is the claim of one server",
        put=(("connection.hosts", ["a"]),),
        drop=("connection.host",),
    ),
    Broken("Database", "cloud", "exactly one of instance and cluster is required", put=(("rds.cluster", "b"),)),
    Broken("Database", "cloud", "exactly one of instance and cluster is required", drop=("rds.instance",)),
    Broken("Database", "small", "exactly one of host and hosts is required", put=(("connection.hosts", ["a"]),)),
    Broken("Database", "small", "exactly one of host and hosts is required", drop=("connection.host",)),
    Broken(
        "Database",
        "orders",
        "caSecretRef is required by modes VerifyCA and VerifyFull",
        drop=("connection.tls.caSecretRef",),
    ),
    Broken(
        "Database",
        "orders",
        "caSecretRef is required by modes VerifyCA and VerifyFull",
        put=(("connection.tls.mode", "VerifyCA"),),
        drop=("connection.tls.caSecretRef",),
    ),
    Broken("Database", "orders", "masterName is required by provider Sentinel", drop=("replication.masterName",)),
    Broken("Database", "small", "Duplicate value", put=(("connection.hosts", ["a", "a"]),), drop=("connection.host",)),
    Broken(
        "Database",
        "small",
        "expected the plain name of a database, found dbname=x",
        put=(("connection.database", "dbname=x"),),
    ),
    Broken(
        "Database",
        "small",
        "expected the plain name of a database, found postgresql://h/d",
        put=(("connection.database", "postgresql://h/d"),),
    ),
    Broken(
        "BackupStorage", "amazon", "exactly one of s3 and volume is required", put=(("volume", {"claimName": "x"}),)
    ),
    Broken("BackupStorage", "amazon", "exactly one of s3 and volume is required", drop=("s3",)),
    Broken(
        "BackupStorage",
        "local",
        "immutability needs s3: a volume has no object lock",
        put=(("immutability", {"retention": "30d"}),),
    ),
    Broken(
        "BackupStorage", "local", "expected a path without .. and //, found /a/../b", put=(("volume.path", "/a/../b"),)
    ),
    Broken("BackupStorage", "amazon", "expected a path without .. and //, found a//b", put=(("s3.prefix", "a//b"),)),
    Broken(
        "BackupStorage",
        "amazon",
        "expected a path such as prod/eu, without a slash in front, found /a",
        put=(("s3.prefix", "/a"),),
    ),
    Broken("BackupStorage", "prod", "Duplicate value", put=(("encryption.age.identitySecretRefs", [KEY, KEY]),)),
    Broken(
        "BackupPolicy", "plain", "exactly one of databaseRef and databaseSelector is required", drop=("databaseRef",)
    ),
    Broken(
        "BackupPolicy",
        "plain",
        "exactly one of databaseRef and databaseSelector is required",
        put=(("databaseSelector", {"matchLabels": {"a": "b"}}),),
    ),
    Broken("BackupPolicy", "team", "schedules are required where no preset is given", drop=("preset",)),
    Broken("BackupPolicy", "plain", "schedules are required where no preset is given", put=(("schedules", []),)),
    Broken("BackupPolicy", "plain", "schedules need at least one of type Full", put=(("schedules", INCREMENTAL),)),
    Broken("BackupPolicy", "nightly", 'Duplicate value: {"name":"full"}', put=(("schedules.1.name", "full"),)),
    Broken(
        "BackupPolicy", "nightly", 'Duplicate value: {"name":"checkpoint"}', put=(("hooks.pre.1.name", "checkpoint"),)
    ),
    Broken("BackupPolicy", "nightly", "exactly one of sql and exec is required", put=(("hooks.pre.0.exec", ["true"]),)),
    Broken("BackupPolicy", "nightly", "exactly one of sql and exec is required", drop=("hooks.pre.0.sql",)),
    Broken("BackupPolicy", "plain", "expected a duration longer than nothing, found 0s", put=(("deadline", "0s"),)),
    Broken(
        "BackupPolicy",
        "plain",
        "(units y, w, d, h, m, s, ms; the largest first), found 30m1h",
        put=(("jitter", "30m1h"),),
    ),
    Broken(
        "BackupPolicy",
        "plain",
        "expected a size such as 10Gi or 500M, more than nothing",
        put=(("continuous", {"maxRetained": "0Gi"}),),
    ),
    Broken(
        "BackupPolicy",
        "plain",
        "expected a size such as 10Gi or 500M, more than nothing",
        put=(("continuous", {"maxRetained": 0}),),
    ),
    Broken(
        "BackupPolicy",
        "plain",
        "unknown time zone Mars/Phobos evaluating rule: expected an IANA time zone",
        put=(("timeZone", "Mars/Phobos"),),
    ),
    Broken(
        "BackupPolicy", "plain", "expected an IANA time zone such as Europe/Berlin or UTC", put=(("timeZone", "Local"),)
    ),
    Broken(
        "BackupPolicy",
        "plain",
        "(minute, hour, day of month, month, day of week) such as 0 2 * * *, found @daily more",
        put=(("schedules.0.cron", "@daily more"),),
    ),
    Broken("BackupPolicy", "plain", "found 60 * * * *", put=(("schedules.0.cron", "60 * * * *"),)),
    Broken(
        "BackupPolicy",
        "nightly",
        "cannot be set: Databosun needs them",
        put=(("podTemplate.labels", {"databosun.io/x": "y"}),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "cannot be set: Databosun needs them",
        put=(("podTemplate.annotations", {"databosun.io/request": "{}"}),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "cannot be set: Databosun needs them",
        put=(("podTemplate.labels", {"app.kubernetes.io/managed-by": "me"}),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "no request may exceed its limit",
        put=(("podTemplate.resources", {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "value is for operator Equal only",
        put=(("podTemplate.tolerations", [{"operator": "Exists", "value": "v"}]),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "key is required by operator Equal",
        put=(("podTemplate.tolerations", [{"value": "v"}]),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        "tolerationSeconds is for effect NoExecute only",
        put=(("podTemplate.tolerations", [{"key": "k", "tolerationSeconds": 1}]),),
    ),
    Broken(
        "BackupPolicy",
        "nightly",
        'Duplicate value: {"name":"A"}',
        put=(("podTemplate.env", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),),
    ),
    Broken("Backup", "before-the-upgrade", "databaseRef or policyRef is required", drop=("policyRef",)),
    Broken("Backup", "without-a-policy", "storageRef is required where no policyRef is given", drop=("storageRef",)),
    Broken(
        "Backup",
        "without-a-policy",
        "schedule names one of a policy: policyRef is required with it",
        put=(("schedule", "full"),),
    ),
    Broken(
        "Backup",
        "before-the-upgrade",
        "parentRef is for types Incremental and Differential only",
        put=(("parentRef", REF),),
    ),
    Broken(
        "Backup",
        "before-the-upgrade",
        "notAfter is required in a Backup made by hand (at most a day ahead)",
        drop=("notAfter",),
    ),
    *(
        Broken(
            "RestoreDrill",
            "weekly",
            "exactly one of databaseRef, policyRef and databaseSelector is required",
            put=put,
            drop=drop,
        )
        for put, drop in (
            ((), ("databaseRef",)),
            ((("policyRef", REF),), ()),
            ((("databaseSelector", {"matchLabels": {"a": "b"}}),), ()),
        )
    ),
    Broken("RestoreDrill", "weekly", "type Job needs exec", drop=("checks.3.exec",)),
    Broken(
        "RestoreDrill",
        "weekly",
        "order is for many databases: databaseRef has but one",
        put=(("order", [{"databaseSelector": {"matchLabels": {"a": "b"}}}]),),
        drop=("trigger",),
    ),
    Broken(
        "RestoreDrill",
        "disaster",
        "trigger is of one database: it cannot be combined with order",
        put=(("trigger", {"everyNBackups": 2}),),
    ),
    Broken("RestoreDrill", "weekly", "type Freshness needs query and maxAge", drop=("checks.0.maxAge",)),
    Broken("RestoreDrill", "weekly", "type Query needs query and value", drop=("checks.2.value",)),
    Broken("RestoreDrill", "nightly", "type Canary needs query and value", drop=("checks.0.query",)),
    Broken(
        "RestoreDrill",
        "weekly",
        "type RowCount needs table and one of min and max, or both",
        drop=("checks.1.min", "checks.1.max"),
    ),
    Broken("RestoreDrill", "weekly", "min may not exceed max", put=(("checks.1.min", 1000001),)),
    Broken(
        "RestoreDrill",
        "nightly",
        'Duplicate value: {"name":"canary"}',
        put=(("checks", [{"name": "canary", "type": "SchemaHash"}] * 2),),
    ),
    Broken(
        "RestoreDrillRun",
        "mine",
        "notAfter is required in a RestoreDrillRun made by hand (at most a day ahead)",
        drop=("notAfter",),
    ),
    Broken(
        "RestoreDrillRun",
        "mine",
        "only one of backupRef and selection can be given",
        put=(("selection", {"from": "Latest"}),),
    ),
    Broken("RestoreDrillRun", "mine", "databaseRef or drillRef is required", drop=("databaseRef", "backupRef")),
    Broken(
        "RestoreDrillRun",
        "mine",
        "backupRef is of one database: databaseRef is required",
        put=(("drillRef", REF),),
        drop=("databaseRef",),
    ),
    Broken(
        "RestoreDrillRun",
        "mine",
        "partOf is of one database: databaseRef is required",
        put=(("drillRef", REF), ("partOf", REF)),
        drop=("databaseRef", "backupRef"),
    ),
    Broken(
        "RestoreDrillRun",
        "mine",
        "schedule is that of a drill: drillRef is required with it",
        put=(("schedule", "drill"),),
    ),
    Broken(
        "Restore",
        "from-backup",
        "exactly one of backupRef and databaseRef is required",
        put=(("from.databaseRef", REF),),
    ),
    Broken("Restore", "from-backup", "exactly one of backupRef and databaseRef is required", drop=("from.backupRef",)),
    Broken(
        "Restore",
        "to-latest",
        "at most one of pointInTime, lsn, restorePoint, gtid and until can be given",
        put=(("lsn", "0/1"),),
    ),
    Broken(
        "Restore",
        "to-transaction",
        "at most one of pointInTime, lsn, restorePoint, gtid and until can be given",
        put=(("until", "Latest"),),
    ),
    Broken("Restore", "from-backup", "one transaction of MariaDB, such as 0-1-4711", put=(("gtid", "0-1-12,3-1-4"),)),
    Broken(
        "Restore",
        "from-backup",
        "or a set of MySQL's, such as UUID:1-4711",
        put=(("gtid", "3e11fa47-71ca-11e1-9e33-c80aa9429562:"),),
    ),
    Broken("Restore", "from-backup", "a log sequence number such as 0/3000148", put=(("lsn", "0-1-12"),)),  # a GTID
    Broken("Restore", "orders-back", "overwrite: Replace needs confirm with the name of the target", drop=("confirm",)),
    Broken(
        "Restore",
        "orders-back",
        "overwrite: Replace needs confirm with the name of the target",
        put=(("confirm", "another"),),
    ),
    Broken("Restore", "from-backup", "spec.notAfter: Required value", drop=("notAfter",)),
    Broken("Restore", "tables-in-place", "needs confirm with the name of the target", put=(("confirm", "shop"),)),
    Broken("Restore", "into-host", "needs confirm with the name of the target", put=(("confirm", "orders"),)),
    Broken(
        "Restore",
        "from-backup",
        "exactly one of volume, databaseRef and connection is required",
        put=(("target.databaseRef", REF),),
    ),
    Broken(
        "Restore",
        "tables-in-place",
        "exactly one of volume, databaseRef and connection is required",
        drop=("target.databaseRef",),
    ),
    Broken(
        "Restore",
        "into-host",
        "credentialsSecretRef goes with databaseRef",
        put=(("target.credentialsSecretRef", REF),),
    ),
    Broken(
        "Restore",
        "from-backup",
        "a data directory always holds the whole server",
        put=(("selection", {"databases": ["shop"]}),),
    ),
    Broken("Restore", "from-backup", "what is restored into a volume is in nobody's way", put=(("stageFirst", True),)),
    Broken(
        "Restore",
        "tables-in-place",
        "tables needs databases with the one database that they are in",
        put=(("selection.databases", ["shop", "other"]),),
    ),
    Broken(
        "LifecyclePolicy",
        "plain",
        "olderThan or where is required: a rule never means all rows",
        drop=("rules.0.match.olderThan",),
    ),
    Broken("LifecyclePolicy", "plain", "olderThan needs column", drop=("rules.0.match.column",)),
    Broken("LifecyclePolicy", "plain", "target and match are needed", drop=("rules.0.match",)),
    Broken("LifecyclePolicy", "plain", "target and match are needed", drop=("rules.0.target",)),
    Broken(
        "LifecyclePolicy", "guide", "target and match are needed, but for", put=(("rules.0.target", {"table": "a"}),)
    ),
    Broken(
        "LifecyclePolicy", "plain", "exactly one of table and keyPattern", put=(("rules.0.target.keyPattern", "a*"),)
    ),
    Broken("LifecyclePolicy", "keys", "exactly one of table and keyPattern", drop=("rules.0.target.keyPattern",)),
    Broken("LifecyclePolicy", "keys", "keyPattern: Invalid value", put=(("rules.0.target.keyPattern", ""),)),
    Broken(
        "LifecyclePolicy", "keys", "no other action is for target.keyPattern", put=(("rules.1.action.type", "Archive"),)
    ),
    Broken("LifecyclePolicy", "keys", "expire is for Expire", drop=("rules.0.action.expire",)),
    Broken("LifecyclePolicy", "keys", "expire is for Expire", put=(("rules.1.action.expire", {"after": "1d"}),)),
    Broken(
        "LifecyclePolicy",
        "plain",
        "Expire is for keys",
        put=(("rules.0.action", {"type": "Expire", "expire": {"after": "1d"}}),),
    ),
    Broken("LifecyclePolicy", "keys", "match takes idleFor alone", put=(("rules.1.match.where", "a"),)),
    Broken("LifecyclePolicy", "plain", "match.idleFor is for keys", put=(("rules.0.match.idleFor", "1d"),)),
    Broken("LifecyclePolicy", "keys", "limits.keepNewest cannot be kept", put=(("rules.1.limits.keepNewest", 1),)),
    Broken("LifecyclePolicy", "keys", "nothing goes along with a key", put=(("rules.2.allow", {"cascades": ["a"]}),)),
    Broken("LifecyclePolicy", "keys", "nothing goes along with a key", put=(("rules.2.allow", {"triggers": ["a"]}),)),
    Broken("LifecyclePolicy", "keys", "nothing goes along with a key", put=(("rules.2.foreignKeys", "ChildrenFirst"),)),
    Broken("LifecyclePolicy", "plain", "everyKey is about keys", put=(("rules.0.target.everyKey", True),)),
    Broken("LifecyclePolicy", "keys", "a hold is on a table or on keys", put=(("holds.0.table", "a"),)),
    Broken("LifecyclePolicy", "cold", "transitions are for type", put=(("rules.0.action.type", "Delete"),)),
    Broken(
        "LifecyclePolicy",
        "guide",
        "a rule of type StorageTransition stands alone",
        put=(
            (
                "rules",
                [
                    {"name": "a", "action": {"type": "StorageTransition"}},
                    {"name": "b", "target": {"table": "a"}, "match": {"where": "a"}, "action": {"type": "Delete"}},
                ],
            ),
        ),
    ),
    Broken(
        "LifecyclePolicy",
        "old-orders",
        "PurgeSoftDeleted needs match.column",
        put=(("rules.3.match", {"where": "a"}),),
    ),
    Broken(
        "LifecyclePolicy", "old-orders", "a partition goes as a whole", put=(("rules.2.match.where", "kind = 'x'"),)
    ),
    Broken(
        "LifecyclePolicy",
        "aging",
        "an index deletes by age alone",
        drop=("rules.0.match.olderThan",),
        put=(("rules.0.match.where", "{}"),),
    ),
    Broken("LifecyclePolicy", "aging", "an index deletes by age alone", put=(("rules.0.match.where", "{}"),)),
    Broken("LifecyclePolicy", "aging", "an index keeps no newest documents", put=(("rules.0.limits.keepNewest", 5),)),
    Broken(
        "LifecyclePolicy",
        "aging",
        "an index of EnsureTTL deletes at any time",
        put=(("windows", [{"cron": "0 1 * * *", "duration": "4h"}]),),
    ),
    Broken("LifecyclePolicy", "old-orders", "archive is for type Archive", put=(("rules.0.action.type", "Delete"),)),
    Broken("LifecyclePolicy", "old-orders", "columns are for Anonymize", drop=("rules.1.action.columns",)),
    Broken("LifecyclePolicy", "old-orders", "markColumn is for Anonymize", drop=("rules.1.action.markColumn",)),
    Broken("LifecyclePolicy", "old-orders", "method Hash needs hashKeySecretRef", drop=("hashKeySecretRef",)),
    Broken("LifecyclePolicy", "old-orders", "method Fixed needs value", drop=("rules.1.action.columns.1.value",)),
    Broken(
        "LifecyclePolicy", "old-orders", "method Generalize needs to or step", drop=("rules.1.action.columns.4.to",)
    ),
    Broken("LifecyclePolicy", "old-orders", "where needs table", drop=("holds.0.table",)),
    Broken(
        "LifecyclePolicy", "old-orders", 'Duplicate value: {"name":"customers"}', put=(("rules.0.name", "customers"),)
    ),
    Broken("FailoverTest", "cut-off", "fault is required by mode FaultInjection", drop=("fault",)),
    Broken("FailoverTest", "cut-off", "for that mode only", put=(("mode", "ForcedFailover"),)),
    Broken("FailoverTest", "cut-off", "duration is required by kind NetworkPartition", drop=("fault.duration",)),
    Broken("FailoverTest", "cut-off", "and for that kind only", put=(("fault.kind", "PodDelete"),)),
    Broken("FailoverTest", "monthly", "minHealthyReplicas 0 is for", put=(("guards.minHealthyReplicas", 0),)),
    Broken("FailoverTest", "killed", "container is for kind ContainerKill only", put=(("fault.kind", "PodDelete"),)),
    Broken("LifecycleRun", "by-hand", "notAfter is required in a LifecycleRun made by hand", drop=("notAfter",)),
    Broken("Inquiry", "records", "exactly one of records and comparison is required", drop=("records",)),
    Broken(
        "Inquiry",
        "records",
        "exactly one of records and comparison is required",
        put=(("comparison", {"databaseRef": REF}),),
    ),
    Broken("Inquiry", "what-is-missing", "database is required with them", drop=("comparison.database",)),
    Broken("Inquiry", "records", "spec.notAfter: Required value", drop=("notAfter",)),
    Broken("ErasureRequest", "plain", "spec.notAfter: Required value", drop=("notAfter",)),
    Broken("ErasureRequest", "plain", "spec.subjectSecretRef: Required value", drop=("subjectSecretRef",)),
    Broken("DataExport", "plain", "spec.notAfter: Required value", drop=("notAfter",)),
    Broken("DataExport", "plain", "spec.subjectSecretRef: Required value", drop=("subjectSecretRef",)),
    Broken("DataExport", "export-2051", 'Duplicate value: {"name":"letters"}', put=(("rules.0.name", "letters"),)),
    Broken("DataExport", "export-2051", "Duplicate value", put=(("rules.0.along", ["orders", "orders"]),)),
    *(
        Broken(kind, "of-keys", words, put=put, drop=drop)
        for kind in ("ErasureRequest", "DataExport")
        for words, put, drop in (
            ("exactly one of table and keyPattern", (("rules.0.table", "users"),), ()),
            ("exactly one of table and keyPattern", (), ("rules.0.keyPattern",)),
            ("column goes with table", (("rules.0.column", "mail"),), ()),
            ("needs $(subject) where", (("rules.0.keyPattern", "user:*"),), ()),
        )
    ),
    Broken(
        "ErasureRequest",
        "of-keys",
        "action.type must be Delete",
        put=(("rules.0.action", {"type": "Anonymize", "columns": [{"name": "a", "method": "Null"}]}),),
    ),
    Broken("DataExport", "of-keys", "along is not for keyPattern", put=(("rules.0.along", ["orders"]),)),
    Broken("ErasureRequest", "plain", "columns are for Anonymize", put=(("rules.0.action.type", "Anonymize"),)),
    Broken("ErasureRequest", "request-1042", "columns are for Anonymize", put=(("rules.1.action.type", "Delete"),)),
    Broken("ErasureRequest", "request-1042", "method Fixed needs value", drop=("rules.1.action.columns.1.value",)),
    Broken("ErasureRequest", "request-1042", "where needs table", drop=("holds.0.table",)),
    Broken("ErasureRequest", "request-1042", 'Duplicate value: {"name":"letters"}', put=(("rules.0.name", "letters"),)),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: f"{case.kind}-{case.says[:60]}")
def test_what_does_not_go_together_is_refused_with_a_sentence(server: Server, case: Broken) -> None:
    assert case.says in refusal(server.create, case.body())


def test_all_that_is_wrong_is_said_at_once(server: Server) -> None:
    body = good("BackupPolicy", "plain")
    body["spec"] |= {"jitter": "soon", "timeZone": "Mars/Phobos", "databaseSelector": {"matchLabels": {"a": "b"}}}
    body["spec"]["schedules"][0]["cron"] = "now"
    said = refusal(server.create, with_value(body, ("spec", "schedules", 0, "cron"), "* * * * never"))
    for field in ("spec:", "spec.jitter:", "spec.timeZone:", "spec.schedules[0].cron:"):
        assert field in said


def test_limits_may_lack_what_is_requested_and_the_other_way_round(server: Server) -> None:
    body = good("BackupPolicy", "nightly")
    resources = {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Gi"}}
    assert server.create(with_value(body, ("spec", "podTemplate", "resources"), resources))
