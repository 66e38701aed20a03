"""A MySQL server with a component that has to be there before it starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.mysqlserver import MySQLServer, mysql_bin
from support.pgserver import hand_over

_KEYRING = "component_keyring_file"


def encrypt_log(server: MySQLServer) -> None:
    """Restart a server with `binlog_encryption`, by keys in a file.

    What the server loads first stands beside its program, by the name that it was called by.
    """
    server.stop()
    files = mysql_bin().parent / "files"
    folder = server.folder / "keyring"
    folder.mkdir()
    shutil.copy2(files / "usr/lib/mysql/plugin" / f"{_KEYRING}.so", folder)
    (folder / "mysqld.my").write_text(json.dumps({"components": f"file://{_KEYRING}"}))
    settings = {"path": str(server.folder / "keys"), "read_only": False}
    (folder / f"{_KEYRING}.cnf").write_text(json.dumps(settings))
    program = folder / "mysqld"
    script = Path(server.program).read_text()
    for said, meant in (('$(readlink -f "$0")', server.program), ('--argv0 "$program"', f'--argv0 "{program}"')):
        assert said in script
        script = script.replace(said, meant)
    program.write_text(script)
    program.chmod(0o755)
    server.program = str(program)
    hand_over(folder)
    server.configure(plugin_dir=str(folder), basedir=str(files / "usr"), binlog_encryption="ON")
    server.start()
    assert server.sql("SELECT @@binlog_encryption") == [(1,)]
