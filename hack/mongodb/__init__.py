"""The stand-in of mongod that the tests run, and MongoDB's own tools, built from published Go modules."""

from __future__ import annotations

import shutil
from pathlib import Path

from hack import golang
from hack.common import file_lock, made_whole
from hack.tools.toolbox import tools_dir

_HERE = Path(__file__).parent
_TOOLS = ("bsondump", "mongodump", "mongorestore")
_TOOLS_VERSION = "100.10.0"  # of the commit in tools/go.mod


def server() -> Path:
    """Return FerretDB."""
    return golang.build("ferretdb", _HERE / "ferretdb", ".", "", "a minute or two the first time")


def tool(name: str) -> Path:
    """Return one of MongoDB's own tools."""
    package = f"github.com/mongodb/mongo-tools/{name}/main"
    return golang.build(name, _HERE / "tools", package, f"-X main.VersionStr={_TOOLS_VERSION}", "half a minute")


def programs() -> Path:
    """Return a folder that every user can reach, with the server and the tools."""
    found = [server(), *(tool(name) for name in _TOOLS)]
    key = "-".join(path.parent.name.rpartition("-")[2][:8] for path in found)
    target = tools_dir() / "mongodb" / key
    with file_lock(tools_dir() / "locks" / "mongodb.lock", "programs of MongoDB"):
        if not target.exists():
            with made_whole(target) as folder:
                for path in found:
                    shutil.copy2(path, folder / path.name)
    return target
