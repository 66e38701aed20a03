"""Whether the copy sorts texts as the original did, and has the libraries that its extensions need."""

from __future__ import annotations

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import failed, passed
from databosun.engines.postgresql.checks.scene import Scene

_DATABASE_VERSIONS = """
SELECT d.datname::text, d.datcollversion, pg_catalog.pg_database_collation_actual_version(d.oid)
FROM pg_catalog.pg_database AS d WHERE d.datcollversion IS NOT NULL
  AND d.datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(d.oid)
"""
# Only collations that an index really uses; the catalog lists every locale of the system.
_USED = """
SELECT DISTINCT c.collname::text, c.collversion, pg_catalog.pg_collation_actual_version(c.oid)
FROM pg_catalog.pg_index AS i CROSS JOIN LATERAL pg_catalog.unnest(i.indcollation::oid[]) AS used(oid)
JOIN pg_catalog.pg_collation AS c ON c.oid = used.oid
WHERE c.collversion IS NOT NULL AND c.collversion IS DISTINCT FROM pg_catalog.pg_collation_actual_version(c.oid)
"""
_DEFAULT_PROVIDER = """
SELECT c.collversion, pg_catalog.pg_collation_actual_version(c.oid) FROM pg_catalog.pg_collation AS c
WHERE c.collprovider = 'c' AND c.collversion IS NOT NULL LIMIT 1
"""
_MISSING = """
SELECT e.extname::text, e.extversion FROM pg_catalog.pg_extension AS e
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions AS a WHERE a.name = e.extname) ORDER BY 1
"""
_DATABASE_VERSIONS_SINCE = 15


def collation_differences(scene: Scene) -> tuple[str, ...]:
    """Sentences: what sorts texts otherwise here than where the backup was taken."""
    found: list[str] = []
    major = scene.backup.major
    with scene.connect("template1") as connection:
        if major >= _DATABASE_VERSIONS_SINCE:
            rows = connection.execute(_DATABASE_VERSIONS).fetchall()
            found += [f"database {name} was made with version {was}, here is {now}" for name, was, now in rows]
    for dbname in scene.databases():
        with scene.connect(dbname) as connection:
            rows = connection.execute(_USED).fetchall()
            found += [f"collation {name} in {dbname} was {was}, here is {now}" for name, was, now in rows]
            if major < _DATABASE_VERSIONS_SINCE and not found:
                rows = connection.execute(_DEFAULT_PROVIDER).fetchall()
                found += [f"libc of {dbname} was {was}, here is {now}" for was, now in rows if was != now]
    return tuple(found)


def check_collation(scene: Scene, check: Check) -> CheckResult:
    """Versions of collations are those of the original; else indexes on texts may be in another order."""
    found = collation_differences(scene)
    if found:
        message = f"{'; '.join(found[:5])}: indexes on texts must be rebuilt after a restore here"
        return failed(check, CheckReason.COLLATION_MISMATCH, message, observed=f"{len(found)} differences")
    return passed(check, observed="as in the original")


def check_extensions(scene: Scene, check: Check) -> CheckResult:
    """This image has the files of every extension that the databases use."""
    missing: dict[str, str] = {}
    for dbname in scene.databases():
        with scene.connect(dbname) as connection:
            for name, version in connection.execute(_MISSING).fetchall():
                missing[str(name)] = f"{name} {version} (in {dbname})"
    if missing:
        message = f"the runner image lacks {', '.join(missing.values())}; name one that has them in runner.image"
        return failed(check, CheckReason.EXTENSION_MISSING, message, observed=", ".join(missing))
    return passed(check, observed="all there")
