"""What a restored copy will need around it: platform, settings, plugins, schemas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.server import ServerFacts

_OF_FILES = ("innodb_data_file_path", "innodb_undo_tablespaces")
_TOLD = (*_OF_FILES, "binlog_format", "log_bin", "max_allowed_packet", "server_id", "sql_mode")

# Plugins that were loaded from a file: what was built in is built into the copy as well.
_PLUGINS = """
SELECT p.PLUGIN_NAME, p.PLUGIN_TYPE, p.PLUGIN_LIBRARY FROM information_schema.PLUGINS AS p
WHERE p.PLUGIN_STATUS = 'ACTIVE' AND p.PLUGIN_LIBRARY IS NOT NULL ORDER BY 1
"""


def gather_environment(
    connection: Connection[Any], dialect: Dialect, facts: ServerFacts, schemas: Collection[str]
) -> dict[str, Any]:
    """Read it all."""
    with guarded("reading the server's environment"):
        plugins = [
            {"name": str(name), "type": str(kind), "library": str(library)}
            for name, kind, library in rows(connection, _PLUGINS)
        ]
        spaces = rows(connection, dialect.tablespaces) if dialect.tablespaces else []
    settings = facts.settings
    return {
        "platform": f"{settings.get('version_compile_os')} {settings.get('version_compile_machine')}",
        "arch": settings.get("version_compile_machine"),
        "versionText": f"{settings['version']} ({settings.get('version_comment')})",
        "settings": {name: settings[name] for name in (*dialect.copied, *_TOLD) if name in settings},
        "collations": [settings.get("collation_server")],
        "plugins": plugins,
        "schemas": sorted(schemas),
        **({"tablespaces": {str(name): int(block) for name, block in spaces}} if spaces else {}),
        "bytes": sum(facts.schemas.get(name, 0) for name in schemas),
        "inRecovery": facts.replica is not None,
    }


def copied_settings(environment: Mapping[str, Any], dialect: Dialect, *, files: bool) -> dict[str, str]:
    """The settings that a copy takes over. `files`: of its files themselves, which follow more of them."""
    settings = environment.get("settings") or {}
    return {name: str(settings[name]) for name in (*dialect.copied, *(_OF_FILES if files else ())) if name in settings}
