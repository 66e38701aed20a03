"""What MariaDB and MySQL say, need and name differently; everything else of the two is the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from databosun.api.v1alpha1.database import EngineName

LONGEST_IDLE = 86400
# What text forms of values depend on, fixed so that fingerprints compare. The server gives up a client that does not
# read for net_write_timeout, 60 s as it comes: a store may be slower for longer.
_SESSION: Mapping[str, str | int] = {
    "sql_mode": "",
    "time_zone": "+00:00",
    "lock_wait_timeout": 60,
    "net_write_timeout": 7200,
    "net_read_timeout": 7200,
    "wait_timeout": LONGEST_IDLE,
    "group_concat_max_len": 1048576,
}
# A copy must have these as the original did: names, page size, and what a definition leaves to the server.
_COPIED = (
    "character_set_server",
    "collation_server",
    "innodb_default_row_format",
    "innodb_page_size",
    "lower_case_table_names",
)
# Reachable over its socket, acting for nobody.
_ALONE = (
    "skip-networking",
    "skip-log-bin",
    "event-scheduler = OFF",
    "performance-schema = OFF",
    "local-infile = OFF",
    "max-connections = 40",
    "max-allowed-packet = 1G",
    "innodb-strict-mode = OFF",
    "lc-messages = en_US",
)
# Nothing of the copy outlives a crash of its pod; what shall last is flushed in the end, and that is counted.
_THROWN_AWAY = (
    "innodb-flush-log-at-trx-commit = 0",
    "innodb-doublewrite = OFF",
    "innodb-fast-shutdown = 1",
)
_BY_HAND = ("skip-networking", "skip-log-bin", "event-scheduler = OFF", "max-allowed-packet = 1G",
            "innodb-strict-mode = OFF")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dialect:
    """`first`: the oldest version that is served. `session`, `read_only`, `limit`: variables of a session; a `limit` is
    a name and its units in a second.

    `hashed`: what fingerprints are marked with, and the function that they are made by. `log`: arguments of the dump
    where a binary log is written, `dumped` those of every dump. `privileges`: of a dump, on all that is dumped;
    `server_privileges`: those that exist on `*.*` only, each with others that do as well; `one_schema`: what a dump of
    one schema needs besides on `*.*`.

    `monitor`: what shows how far a replica is; `follow`: the statement that starts one. `everyone`: whom a proxy
    stands for that may be anybody. `install`: arguments of the program that makes a data directory, `mine` the lines of
    the private server's configuration, `by_hand` those that RESTORE.md has; `upgrade`: what a later series demands.

    `streamed`: what a session says before it becomes a stream of the log,
    `replica_name` how it says who it is, `stream_flags` how it asks. `gtid_at`: what tells the transactions before a
    place; None where a file says when it was begun, and what lies before it.
    """

    engine: EngineName
    first: tuple[int, int, int]
    session: Mapping[str, str | int]
    read_only: str
    limit: tuple[str, int]
    dump: str
    client: str
    admin: str
    server: str
    installer: str
    bin_variable: str
    plugin_folders: tuple[str, ...]
    relay_plugin: bytes
    hashed: tuple[str, str]
    log: tuple[str, ...]
    dumped: tuple[str, ...]
    privileges: tuple[str, ...]
    server_privileges: tuple[tuple[str, ...], ...]
    one_schema: tuple[tuple[str, ...], ...]
    identity: str
    replicas: str
    groups: str | None
    lag: str
    monitor: str
    follow: str
    source: str
    copied: tuple[str, ...]
    tablespaces: str | None
    install: tuple[str, ...]
    mine: tuple[str, ...]
    by_hand: tuple[str, ...]
    client_flags: tuple[str, ...]
    everyone: str
    upgrade: str
    log_privileges: tuple[str, ...]
    log_reader: str
    reader_flags: tuple[str, ...]
    streamed: tuple[str, ...]
    replica_name: str | None
    stream_flags: int
    gtid_at: str | None

    @property
    def name(self) -> str:
        """For people."""
        return self.engine.value

    @property
    def copies_files(self) -> bool:
        """Whether physical backups are taken of it."""
        return self.engine is EngineName.MARIADB

    @property
    def identity_is_name(self) -> bool:
        """Whether what `identity` gives is one already."""
        return self.engine is EngineName.MYSQL

    @property
    def limits_reads_only(self) -> bool:
        """Whether the limit of a session ends nothing but SELECTs."""
        return self.engine is EngineName.MYSQL

    @property
    def stamps_seconds(self) -> bool:
        """Whether a transaction in the log says when it was committed to the second only."""
        return self.engine is EngineName.MARIADB

    def log_status(self, series: tuple[int, int]) -> str:
        """What says where the log ends."""
        renamed = self.engine is EngineName.MYSQL and series >= (8, 2)
        return "SHOW BINARY LOG STATUS" if renamed else "SHOW MASTER STATUS"

    @property
    def bin_environment(self) -> str:
        """The variable that says where its programs are."""
        return f"DATABOSUN_{self.bin_variable}"

    @property
    def plugin_environment(self) -> str:
        """The variable that says where its plug-ins are."""
        return f"DATABOSUN_{self.engine.value.upper()}_PLUGINS"

    def speaks(self, version: str) -> bool:
        """Whether a server or a program of that version is of this product."""
        return ("mariadb" in version.lower()) is (self.engine is EngineName.MARIADB)


MARIADB = Dialect(
    engine=EngineName.MARIADB,
    first=(10, 6, 0),
    session={**_SESSION, "max_statement_time": 0, "tx_isolation": "REPEATABLE-READ"},
    read_only="tx_read_only",
    limit=("max_statement_time", 1),
    dump="mariadb-dump",
    client="mariadb",
    admin="mariadb-admin",
    server="mariadbd",
    installer="mariadb-install-db",
    bin_variable="MARIADB_BIN",
    plugin_folders=("/usr/lib/mysql/plugin", "/usr/lib64/mysql/plugin", "/usr/lib/mariadb/plugin"),
    relay_plugin=b"mysql_native_password",
    hashed=("m1", "MD5({})"),
    log=("--master-data=2", "--gtid"),
    dumped=(),
    # Without TRIGGER mariadb-dump leaves triggers out and ends with 0; without the others it fails, or hides schemas.
    privileges=("SELECT", "SHOW VIEW", "TRIGGER", "EVENT"),
    server_privileges=(),
    one_schema=(),
    # Nothing outlives a restart elsewhere (server_uid is of the network card): when the first of its own tables was
    # made says which installation it is. Its physical copies share it, and so do two that were installed in the same
    # second: their transactions tell those apart.
    identity="SELECT t.CREATE_TIME FROM information_schema.TABLES AS t WHERE t.TABLE_SCHEMA = 'mysql' AND t.ENGINE = "
    "'Aria' AND t.TABLE_NAME IN ('db', 'func', 'plugin', 'servers', 'help_topic', 'time_zone') ORDER BY 1 LIMIT 1",
    replicas="SHOW ALL SLAVES STATUS",
    groups=None,
    lag="Seconds_Behind_Master",
    monitor="SLAVE MONITOR",
    follow="START SLAVE;",
    source="CHANGE MASTER TO",
    copied=_COPIED,
    tablespaces=None,
    install=("--auth-root-authentication-method=normal", "--skip-test-db"),
    mine=(
        *_ALONE,
        *_THROWN_AWAY,
        "skip-slave-start",
        "skip-ssl",
        "symbolic-links = OFF",
        "innodb-log-file-size = 256M",
        "sync-frm = OFF",
    ),
    by_hand=(*_BY_HAND, "skip-slave-start"),
    client_flags=("--sandbox",),
    everyone="''@'%'",
    upgrade="run mariadb-upgrade where it is a later one",
    log_privileges=("REPLICATION SLAVE", "BINLOG MONITOR"),
    log_reader="mariadb-binlog",
    reader_flags=("--skip-gtid-strict-mode",),
    # 4: understands GTID events (MARIA_SLAVE_CAPABILITY_GTID); checksums as the file has them.
    streamed=(
        "SET @mariadb_slave_capability = 4",
        "SET @master_binlog_checksum = 'CRC32'",
        "SET @master_heartbeat_period = {heartbeat}",
    ),
    replica_name=None,
    # Events that hold the statement of row events are left out otherwise, and the file would have holes.
    stream_flags=2,
    gtid_at="SELECT BINLOG_GTID_POS(%s, %s)",
)
# Options that a series does not have are passed over where they are `loose`.
_MYSQL_OFF = (
    "loose-mysqlx = OFF",
    "loose-skip-replica-start = ON",
    "loose-restrict-fk-on-non-standard-key = OFF",
    "loose-mysql-native-password = ON",
)
MYSQL = Dialect(
    engine=EngineName.MYSQL,
    first=(8, 0, 23),
    session={
        **_SESSION,
        # mysqldump locks all tables for the instant of its snapshot, and whoever writes waits behind it while it waits.
        "lock_wait_timeout": 10,
        "max_execution_time": 0,
        "transaction_isolation": "REPEATABLE-READ",
        "information_schema_stats_expiry": 0,
    },
    read_only="transaction_read_only",
    limit=("max_execution_time", 1000),
    dump="mysqldump",
    client="mysql",
    admin="mysqladmin",
    server="mysqld",
    installer="mysqld",
    bin_variable="MYSQL_BIN",
    plugin_folders=("/usr/lib/mysql/plugin", "/usr/lib64/mysql/plugin"),
    relay_plugin=b"caching_sha2_password",
    hashed=("s1", "SHA2({}, 256)"),  # from 9.6 on MD5 is no longer there
    log=("--source-data=2",),
    dumped=("--no-tablespaces", "--column-statistics=0"),
    privileges=("SELECT", "SHOW VIEW", "TRIGGER", "EVENT"),
    server_privileges=(("RELOAD", "FLUSH_TABLES"), ("PROCESS",), ("REPLICATION CLIENT",)),
    one_schema=(("SHOW_ROUTINE", "SELECT"),),
    identity="SELECT @@server_uuid",
    replicas="SHOW REPLICA STATUS",
    groups="SELECT MEMBER_ROLE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid",
    lag="Seconds_Behind_Source",
    monitor="REPLICATION CLIENT",
    follow="START REPLICA;",
    source="CHANGE REPLICATION SOURCE TO",
    copied=(*_COPIED, "partial_revokes"),
    tablespaces="SELECT s.NAME, s.ZIP_PAGE_SIZE FROM information_schema.INNODB_TABLESPACES AS s "
    "WHERE s.SPACE_TYPE = 'General' AND s.NAME <> 'mysql' ORDER BY 1",
    install=("--initialize-insecure",),
    mine=(*_ALONE, *_THROWN_AWAY, *_MYSQL_OFF, "loose-auto-generate-certs = OFF",
          "loose-caching-sha2-password-auto-generate-rsa-keys = OFF", "loose-innodb-redo-log-capacity = 512M"),
    by_hand=(*_BY_HAND, *_MYSQL_OFF, "secure-file-priv = NULL"),
    client_flags=(),
    everyone="''@''",
    upgrade="a later one upgrades it at its start, one series at a time",
    log_privileges=("REPLICATION SLAVE", "REPLICATION CLIENT"),
    log_reader="mysqlbinlog",
    reader_flags=("--skip-gtids",),
    # By both names: which of them counts depends on the version.
    streamed=("SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'",
              "SET @master_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}"),
    replica_name="SET @slave_uuid = %s, @replica_uuid = @slave_uuid",
    stream_flags=0,
    gtid_at=None,
)  # fmt: skip
_KNOWN = {one.engine: one for one in (MARIADB, MYSQL)}


def dialect_of(engine: EngineName | str) -> Dialect:
    """Of an engine of this package."""
    return _KNOWN[EngineName(engine)]
