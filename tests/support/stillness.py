"""What a folder holds, to the last byte and stamp, so that nothing that touched it stays unseen."""

from __future__ import annotations

import hashlib
from pathlib import Path

Files = dict[str, tuple[str, int, int, int]]


def files_of(folder: Path) -> Files:
    """Every file, folder and link below, with its content, rights, owner and the time of its last change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        seen = path.lstat()
        content = ""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (content, seen.st_mode, seen.st_uid, seen.st_mtime_ns)
    return found
