"""A copy of a server that talks to others, and acts by itself, starts, is checked, and touches nobody.

It has a subscription, a foreign server, an event trigger, TLS, and Debian's pg_cron with a job that calls somebody as
soon as the scheduler runs. The images lack pg_cron, as those of most people do: the source is given it as files, and
the copy does without it, and says so.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.clusterapi import Object
from support.pgserver import DEBIAN, DEBIAN_MAJOR
from support.stack import PASSWORD
from support.stackfaults import kill
from support.stackplace import GROUP, LABEL_FINISHED, Place, ask_for_drill, database_of, policy, secret
from support.stacksource import CONTINUOUS, Shipping, Source, now
from support.tls import make_certificate

pytestmark = pytest.mark.e2e

SETTINGS = (
    "max_slot_wal_keep_size = '1GB'; shared_preload_libraries = 'pg_cron'; cron.database_name = 'orders'; "
    "cron.use_background_workers = on"
)
SHARED = Path(f"/usr/share/postgresql/{DEBIAN_MAJOR}/extension")
PUBLISHER = "wal_level = logical; log_connections = on"
TALKATIVE = """
create table news (i int primary key);
create table kept as select i from generate_series(1, 500) as i;
create extension pg_cron;
create extension dblink;
select cron.schedule('call', '@reboot',
  $$select dblink_connect('host={host} user=backup password={password} dbname=orders')$$);
select cron.schedule('yearly', '0 0 1 1 *', 'insert into kept values (501)');
create extension postgres_fdw;
create server far foreign data wrapper postgres_fdw options (host '{host}', dbname 'orders');
create user mapping for postgres server far options (user 'backup', password '{password}');
create foreign table elsewhere (i int) server far options (table_name 'news');
create subscription feed connection 'host={host} user=backup password={password} dbname=orders' publication feed;
create function fire() returns event_trigger language plpgsql as 'begin raise exception ''it has fired''; end';
create event trigger fires on ddl_command_start execute function fire();
"""
WORKERS = "select count(*) from pg_stat_activity where backend_type ~ '^(logical|autovacuum|pg_cron)'"
LAUNCHER = "pg_cron launcher"
RUNS = "select count(*) from cron.job_run_details where status = 'succeeded'"


def _query(name: str, query: str, value: str) -> Object:
    return {"name": name, "type": "Query", "database": "orders", "query": query, "value": value}


CHECKS = [
    _query("kept", "select count(*) from kept", "500"),
    _query("news", "select count(*) from news", "3"),
    _query("workers", WORKERS, "0"),
    _query("jobs", "select count(*) from cron.job where active", "2"),
    _query("subscription", "select count(*) from pg_subscription where subenabled", "1"),
    _query("triggers", "select count(*) from pg_event_trigger where evtenabled <> 'D'", "1"),
    _query("preload", "select setting from pg_settings where name = 'shared_preload_libraries'", ""),
    _query("ssl", "select setting from pg_settings where name = 'ssl'", "off"),
    _query("peers", "select count(*) from pg_stat_wal_receiver", "0"),
]


@pytest.fixture(scope="module")
def talkative(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A server that subscribes, asks another one, serves TLS, fires triggers and keeps a worker busy."""
    publisher, source = Source(place, "publisher"), Source(place)
    publisher.start(settings=PUBLISHER)
    library = {"lib/pg_cron.so": DEBIAN.parent / "lib/pg_cron.so"}
    shared = {f"share/extension/{file.name}": file for file in SHARED.glob("pg_cron*")}
    source.start(major=DEBIAN_MAJOR, settings=SETTINGS, files=library | shared)
    publisher.sql(
        "create table news (i int primary key); insert into news values (1); create publication feed for all tables"
    )
    source.sql(TALKATIVE.format(host=publisher.host, password=PASSWORD))
    made = make_certificate(tmp_path_factory.mktemp("tls"), "orders")
    _serve_tls(source, made.cert, made.key)
    place.wait("the news come", lambda: source.sql("select count(*) from news") == "1")
    assert source.sql("select count(*) from elsewhere") == "1"
    assert source.sql("show ssl") == "on"
    _run_jobs(source)
    continuous = {"continuous": CONTINUOUS}
    place.apply(database_of("orders", source.host, objectives={"rpo": "2m"}), policy("orders", **continuous))
    Shipping(place).wait_until_healthy()
    return source


def _run_jobs(source: Source) -> None:
    """Have the server crash, and the scheduler begin anew, which is when its job calls."""
    source.sql("alter system set shared_preload_libraries = 'pg_cron'")
    kill(source.pod(), LAUNCHER)

    def ran() -> bool:
        with suppress(AssertionError):
            return int(source.sql(RUNS)) > 0
        return False

    source.place.wait("the job has run", ran)


def _serve_tls(source: Source, cert: Path, key: Path) -> None:
    """With files beside the data, which no backup has."""
    for name, file in (("server.crt", cert), ("server.key", key)):
        source.run("sh", "-c", f"umask 077; mkdir -p /data/tls; cat > /data/tls/{name}", input=file.read_text())
    for name in ("cert", "key"):
        source.sql(f"alter system set ssl_{name}_file = '/data/tls/server.{'crt' if name == 'cert' else 'key'}'")
    source.sql("alter system set ssl = on")
    source.sql("select pg_reload_conf()")
    source.place.wait("it serves TLS", lambda: source.sql("show ssl") == "on")


@dataclass(frozen=True, slots=True)
class Silence:
    """An instant after the last commit, and how often jobs had run by then."""

    idle: datetime
    runs: str


@pytest.fixture(scope="module")
def silent(talkative: Source) -> Silence:
    """It is lost some time after its last commit, with nothing that would call anybody but a copy."""
    place, publisher = talkative.place, Source(talkative.place, "publisher")
    publisher.sql("insert into news values (2), (3)")
    place.wait("the news come", lambda: talkative.sql("select count(*) from news") == "3")
    committed = now()
    idle = committed + timedelta(seconds=3)
    place.wait("an idle database can be restored", lambda: Shipping(place).latest() > idle, 90)
    runs = talkative.sql(RUNS)
    talkative.lose()
    publisher.sql("insert into news values (4)")
    return Silence(idle, runs)


def _calls(publisher: Source) -> list[str]:
    """Who has connected to the publisher over the network, whether it got in or not."""
    log = publisher.place.stack.kubectl("logs", "-n", publisher.place.namespace, "deployment/publisher")
    calls = [line.partition("host=")[2].split()[0] for line in log.splitlines() if "connection received" in line]
    return [call for call in calls if call not in ("[local]", "127.0.0.1", "::1")]


def _position(publisher: Source) -> str:
    return publisher.sql(
        "select confirmed_flush_lsn || ' ' || active from pg_replication_slots where slot_name = 'feed'"
    )


def test_a_copy_of_it_passes_and_touches_nobody(talkative: Source, silent: Silence) -> None:
    place, publisher = talkative.place, Source(talkative.place, "publisher")
    before, position = _calls(publisher), _position(publisher)
    assert before, "the subscription had connected"
    assert position.endswith(" false")
    latest = {"from": "Latest", "pointInTime": "Latest"}
    checks = [*CHECKS, _query("runs", RUNS, silent.runs)]
    ask_for_drill(place, "quiet", "orders", level="Deep", checks=checks, selection=latest)
    status = place.verdict("quiet")
    assert (status["phase"], status["failure"]["reason"]) == ("Partial", "ExtensionMissing"), status
    passed = {one["name"] for one in status["checks"] if one["result"] == "Passed"}
    assert passed >= {one["name"] for one in checks}, status
    assert _calls(publisher) == before
    assert _position(publisher) == position


def test_a_time_after_the_last_commit_of_an_idle_database_restores(talkative: Source, silent: Silence) -> None:
    """Into the publisher, which lacks the table."""
    place, publisher = talkative.place, Source(talkative.place, "publisher")
    publisher.sql(f"create role restorer superuser login password '{PASSWORD}'")
    login = secret("restorer", username="restorer", password=PASSWORD)
    place.apply(login, database_of("publisher", publisher.host))
    spec = {
        "from": {"databaseRef": {"name": "orders"}},
        "pointInTime": silent.idle.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "selection": {"databases": ["orders"], "tables": ["public.kept"]},
        "target": {"databaseRef": {"name": "publisher"}, "credentialsSecretRef": {"name": "restorer"}},
        "checks": [CHECKS[0], CHECKS[1]],
        "notAfter": (now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": "idle"}, "spec": spec})

    def ended() -> bool:
        return LABEL_FINISHED in place.stack.api.read("restores", place.namespace, "idle")["metadata"].get("labels", {})

    place.wait("the restore has a verdict", ended, 300)
    status = place.status("restores", "idle")
    assert status["phase"] == "Succeeded", status
    assert publisher.sql("select count(*), sum(i) from kept") == "500|125250"
