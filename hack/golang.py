"""Builds Go programs into the cache, once for each state of their sources."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hack.common import Failure, cache_dir, file_lock, made_whole, progress, run

OLDEST = (1, 24)


def _require_go() -> None:
    if shutil.which("go") is None:
        raise Failure("Go is not installed; Go 1.24 or newer is needed (https://go.dev/doc/install)")
    found = re.search(r"go(\d+)\.(\d+)", run(["go", "env", "GOVERSION"]))
    if found and (int(found[1]), int(found[2])) < OLDEST:
        raise Failure(f"Go {found[1]}.{found[2]} is installed; Go 1.24 or newer is needed (https://go.dev/doc/install)")


def _go(arguments: Sequence[str], cwd: Path, gobin: Path | None = None) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    environment |= {"GOBIN": str(gobin)} if gobin else {}
    done = subprocess.run(
        ["go", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise Failure(f"`go {' '.join(arguments)}` failed with exit code {done.returncode}:\n{said}")


def build(name: str, sources: Path, package: str, ldflags: str, took: str) -> Path:
    """Return the binary ``name`` of a package in a module's folder, built if its sources changed.

    ``took`` is what a person is told about how long it takes the first time.
    """
    digest = hashlib.sha256(f"{package} {ldflags}".encode())
    for file in sorted(path for path in sources.rglob("*") if path.suffix in (".go", ".mod", ".sum")):
        digest.update(f"{file.relative_to(sources)}\0".encode())
        digest.update(file.read_bytes())
    target = cache_dir() / "go" / f"{name}-{digest.hexdigest()[:16]}"
    if not (target / name).exists():
        _require_go()
        with file_lock(cache_dir() / "locks" / f"go-{name}.lock", f"the build of {name}"):
            if not (target / name).exists():
                progress(f"building {name} ({took})")
                with made_whole(target) as folder:
                    flags = ["-trimpath", "-ldflags", f"-s -w {ldflags}".strip()]
                    _go(["build", *flags, "-o", str(folder / name), package], sources)
                progress(f"built {name}")
    return target / name


def install(module: str, version: str) -> Path:
    """Return the program of a published Go module (``path@version``), built once; its checksum is the database's."""
    name = module.rsplit("/", 1)[-1]
    target = cache_dir() / "go" / f"{name}-{version}"
    if not (target / name).exists():
        _require_go()
        with file_lock(cache_dir() / "locks" / f"go-{name}.lock", f"the build of {name}"):
            if not (target / name).exists():
                progress(f"building {name} {version}")
                with made_whole(target) as folder:
                    _go(["install", "-trimpath", "-ldflags", "-s -w", f"{module}@{version}"], folder, gobin=folder)
    return target / name
