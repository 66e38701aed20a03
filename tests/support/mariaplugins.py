"""A MariaDB server with plug-ins that Debian keeps in another package than the server's own program."""

from __future__ import annotations

import shutil

from hack import debian
from hack.tools import toolbox

from support.mariaserver import MariaServer

_KEYS = "1;770a8a65da156d24ee2a093277530142\n"


def encrypt_log(server: MariaServer) -> None:
    """Restart a server with `encrypt_binlog`, by keys in a file."""
    server.stop()
    files = debian.beside("mariadb-server", "mariadb-server-core", toolbox.tools_dir() / "debian")
    folder = server.folder / "plugins"
    folder.mkdir()
    shutil.copy2(files / "usr/lib/mysql/plugin/file_key_management.so", folder)
    keys = server.folder / "keys"
    keys.write_text(_KEYS)
    server.configure(
        plugin_dir=str(folder),
        plugin_load_add="file_key_management",
        file_key_management_filename=str(keys),
        encrypt_binlog="ON",
    )
    server.start()
    assert server.sql("SELECT @@encrypt_binlog") == [(1,)]
