"""One person's keys are erased from real servers, handed over, and do not come back by drills, volumes or a log."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from databosun.api.dataexport import ExportOrder
from databosun.api.drill import Check, CheckType, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.lifecycle import HoldOrder
from databosun.api.result import Outcome
from support.erasing import KEY, SUBJECT, erased
from support.recoveryyard import drilled
from support.rediserasing import PATTERNS, RedisForgetter, hers, keys_rule, names, populate
from support.redisserver import open_socket, serving

pytestmark = pytest.mark.servers
NOBODY = Check(name="nobody", type=CheckType.QUERY, query=f"EXISTS user:{SUBJECT}:cart", value="0")
only_redis = pytest.mark.parametrize("product", ["redis"], indirect=True)


def said_of(drill: Any) -> str:
    """What it says that it erased again."""
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    return str(again.observed)


def test_the_approved_plan_is_carried_out_and_nobody_else_is_touched(forgetter: RedisForgetter) -> None:
    before = forgetter.names()
    found = forgetter.look()
    assert {one.rule: (one.counts.eligible, one.fault) for one in found.facts} == {
        "things": (5, None), "sessions": (1, None), "mail": (1, None),
    }  # fmt: skip
    server = forgetter.server
    server.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
    server.call("SLOWLOG", "RESET")
    ran = forgetter.erase()
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Erased"), ran.output[-3000:]
    assert forgetter.names() == before - forgetter.theirs()
    assert server.call("EXISTS", f"user:{SUBJECT}:profile") == 0
    with server.connect(3) as wire:
        assert names(wire) == {f"user:{SUBJECT}:profile".encode()}, "another database"
    entry = forgetter.entry()
    assert (entry["subject"], entry["dbname"]) == (forgetter.hashed, "0")
    slow = server.call("SLOWLOG", "GET", "-1")
    assert isinstance(slow, list)
    commands = [one[3] for one in slow if isinstance(one, list) and isinstance(one[3], list)]
    scans = [one for one in commands if one[0] == b"SCAN"]
    assert scans
    assert not any(SUBJECT.encode() in b" ".join(map(bytes, one)) for one in scans)  # type: ignore[arg-type]
    stored = {str(path): path.read_bytes().decode(errors="replace") for path in forgetter.objects()}
    for form in (SUBJECT, SUBJECT.replace("@", "%40"), base64.b64encode(SUBJECT.encode()).decode(), KEY):
        assert not any(form in text for text in forgetter.outputs)
        assert [name for name, text in stored.items() if form in name or form in text] == []


@only_redis
@pytest.mark.parametrize("subject", ["*", "4?", "[ab]*", "\\*", "a]", "^-", "$(subject)", "\u0416 '\"", "4"])
def test_a_key_with_what_patterns_mean_something_by_is_that_key_alone(forgetter: RedisForgetter, subject: str) -> None:
    """At the source, and in a copy."""
    forgetter.subject = subject
    populate(forgetter.server, subject)
    before = forgetter.names()
    forgetter.yard.back_up()
    erased(forgetter.erase())
    assert before - forgetter.names() == forgetter.theirs()
    assert said_of(drilled(forgetter.yard.drill(pod=forgetter.pod()))).startswith("1 erasures repeated, 1 people found")


@only_redis
def test_what_could_take_others_or_is_held_is_refused(forgetter: RedisForgetter) -> None:
    before = forgetter.names()
    held = HoldOrder(name="case", keys="user:*:cart", reason="a case")
    for text, holds, reason, words in (
        ("user:$(subject)*", (), "RuleNotReadable", "matches several characters"),
        ("*:$(subject):x", (), "RuleNotReadable", "a * stands before"),
        ("user:[$(subject)]:x", (), "RuleNotReadable", "it is there 0 times"),
        ("mail@$(subject)@x", (), "RuleNotReadable", "has '@' in it"),
        ("user:$(subject):*", (held,), "BlockedByHold", "1 keys of the subject are under a hold"),
    ):
        ran = forgetter.erase([keys_rule("one", text)], holds=list(holds))
        assert (ran.summary.reason, words in ran.summary.message) == (reason, True), ran.summary
        assert SUBJECT not in ran.output
    many = keys_rule("one", "user:$(subject):*")
    few = many.model_copy(update={"limits": many.limits.model_copy(update={"max_rows_per_run": 4})})
    ran = forgetter.erase([few])
    assert (ran.summary.reason, "more than maxRows (4)" in ran.summary.message) == ("PlanGrew", True)
    assert forgetter.names() == before


def test_neither_a_drill_nor_a_volume_brings_the_person_back(forgetter: RedisForgetter, product: str) -> None:
    """By servers that keep an append-only file and by such that do not."""
    before = forgetter.names()
    forgetter.yard.back_up()
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod(), id="drill-0", checks=[NOBODY]))
    assert (drill.verdict, drill.reason) == (Verdict.FAILED, "CheckFailed"), "the backup holds her"
    erased(forgetter.erase())
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod(), level=Level.APPLICATION, checks=[NOBODY]))
    assert drill.verdict is Verdict.PASSED, (drill.message, drill.checks)
    assert said_of(drill) == (
        "1 erasures repeated, 1 people found: 1 rows of db0 $(subject), 1 rows of db0 session:{$(subject)}, 5 rows of"
        " db0 user:$(subject):*; none left"
    )
    pod = forgetter.pod()
    ran = forgetter.yard.restore(pod=pod)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
    found = ran.result.restore
    data: Path = pod.restored / found.data_directory
    alone = any("append-only file alone" in note for note in found.notes)
    assert alone == (product == "redis6"), found.notes
    assert (data / "dump.rdb").exists() != alone
    for settings in (["appendonly yes"], *([] if alone else [["appendonly no"]])):
        with serving(product, data, forgetter.yard.folder, *settings) as socket, open_socket(socket) as wire:
            assert names(wire) == before - forgetter.theirs(), settings


@only_redis
def test_the_log_to_a_time_does_not_bring_the_person_back(forgetter: RedisForgetter) -> None:
    """She comes with the log alone; to its end she is erased by it."""
    server, pod = forgetter.server, forgetter.yard.archiver()
    server.call("DEL", *forgetter.theirs())
    server.call("ACL", "SETUSER", "backup", "+role", "+config|get")
    try:
        pod.start()
        pod.wait_until_streaming()
        forgetter.yard.back_up("orders-1")
        server.calls(hers())
        pod.drained()
        moment = datetime.now(UTC)
        erased(forgetter.erase())
        pod.drained()
        pod.stop()
    finally:
        pod.kill()
    said = {}
    for name, until in {
        "none": RecoveryPoint(),
        "time": RecoveryPoint(kind=PointKind.TIME, time=moment),
        "latest": RecoveryPoint(kind=PointKind.LATEST),
    }.items():
        drill = drilled(
            forgetter.yard.drill("orders-1", pod=forgetter.pod(), id=f"drill-{name}", until=until, checks=[NOBODY])
        )
        assert drill.verdict is Verdict.PASSED, (name, drill.message, drill.checks)
        said[name] = said_of(drill).partition(":")[0]
    nobody, one = "1 erasures repeated, 0 people found", "1 erasures repeated, 1 people found"
    assert said == {"none": nobody, "time": one, "latest": nobody}


def test_all_keys_of_the_person_are_handed_over_by_type(forgetter: RedisForgetter) -> None:
    rules = [ExportOrder(name=name, keys=pattern, max_rows=10) for name, pattern in PATTERNS.items()]
    ran = forgetter.export(*rules, database=None)
    assert ran.summary.reason == "Exported", ran.output[-3000:]
    result = ran.result.dataexport
    assert result is not None
    rows = forgetter.exported(result, by="key")
    assert {name: [one["key"] for one in found] for name, found in rows.items()} == {
        "db0 user:$(subject):*": [f"user:{SUBJECT}:{one}" for one in ("cart", "events", "profile", "scores", "tags")],
        "db0 session:{$(subject)}": [f"session:{{{SUBJECT}}}"],
        "db0 $(subject)": [SUBJECT],
    }
    values = {one["key"].rpartition(":")[2]: (one["type"], one["value"]) for one in rows["db0 user:$(subject):*"]}
    photo = {"base64": base64.b64encode(b"\x00\xff").decode()}
    assert values == {
        "cart": ("list", ["book", "lamp"]), "events": ("stream", [["1-1", [["did", "log in"]]]]),
        "profile": ("hash", [["name", "Ada"], ["photo", photo]]), "scores": ("zset", [["chess", "1.5"]]),
        "tags": ("set", ["math"]),
    }  # fmt: skip
    (session,) = rows["db0 session:{$(subject)}"]
    assert 0 < session["millisecondsToLive"] <= 90_000_000
    stored = [path.read_bytes().decode(errors="replace") for path in forgetter.objects()]
    for form in (SUBJECT, KEY, "dear Ada"):
        assert not any(form in text for text in (*forgetter.outputs, *stored))


@only_redis
def test_large_values_are_read_whole_and_too_many_keys_are_refused(forgetter: RedisForgetter) -> None:
    server, user = forgetter.server, f"user:{SUBJECT}"
    server.calls([("RPUSH", f"{user}:cart", n) for n in range(1500)])
    server.calls([("HSET", f"{user}:profile", f"f{n}", n) for n in range(1500)])
    server.calls([("XADD", f"{user}:events", f"1-{n + 2}", "n", n) for n in range(1500)])
    things = ExportOrder(name="things", keys=PATTERNS["things"], max_rows=5)
    result = forgetter.export(things, database=None).result.dataexport
    assert result is not None
    values = {one["key"]: one["value"] for one in forgetter.exported(result, by="key")["db0 user:$(subject):*"]}
    assert values[f"{user}:cart"] == ["book", "lamp", *map(str, range(1500))]
    assert len(values[f"{user}:profile"]) == 1502
    assert [one[0] for one in values[f"{user}:events"]] == [f"1-{n + 1}" for n in range(1501)]
    ran = forgetter.export(things.model_copy(update={"max_rows": 4}), name="export-2", database=None)
    assert ran.summary.reason == "PlanGrew", ran.summary
