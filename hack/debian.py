"""Installs missing programs from Debian's packages, without starting a service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hack.common import Failure, cache_dir, file_lock, made_whole, progress, run

DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING_FILE = "/usr/share/keyrings/debian-archive-keyring.gpg"
KEYRING = {KEYRING_FILE: "debian-archive-keyring"}
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Put here by Databosun's tools while they install packages; safe to remove.\nexit 101\n"


class Undelivered(Failure):
    """A suite does not have what is wanted of it, or cannot be reached; nothing is wrong with this machine."""


def is_there(program: str) -> bool:
    """Say whether a program (a name to look up, or an absolute path) is installed."""
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program) is not None


def ensure(programs: Mapping[str, str]) -> None:
    """Install what is missing of ``programs`` (program to Debian package); Failure where this machine cannot."""
    packages = sorted({package for program, package in programs.items() if not is_there(program)})
    if not packages:
        return
    if not is_there("apt-get"):
        raise Failure(f"missing on this machine, which has no apt-get to install them: {' '.join(packages)}")
    if os.geteuid() != 0:
        raise Failure(f"missing on this machine; as root: apt-get install {' '.join(packages)}")
    with file_lock(cache_dir() / "apt.lock", "package installation"), _no_services():
        progress(f"installing {' '.join(packages)}")
        _apt("update", "-q")
        _apt("install", "-q", "-y", "--no-install-recommends", *packages)
    missing = sorted(program for program in programs if not is_there(program))
    if missing:
        raise Failure(f"still missing after apt-get install: {' '.join(missing)}")


def beside(package: str, installed: str, cache: Path) -> Path:
    """The files of a package that is not installed, of the very version of another that is; no script of it is run."""
    version = run(["dpkg-query", "--show", "--showformat=${Version}", installed])
    target = cache / f"{package}-{version.replace(':', '_')}"
    with file_lock(cache_dir() / "apt.lock", "package installation"):
        if not target.exists():
            progress(f"unpacking {package} {version}")
            with made_whole(target) as folder, tempfile.TemporaryDirectory() as scratch:
                Path(scratch).chmod(0o755)  # apt-get fetches as a user of its own
                _apt("update", "-q")
                _apt("download", "-q", f"{package}={version}", cwd=Path(scratch))
                run(["dpkg-deb", "--extract", *Path(scratch).glob("*.deb"), folder])
    return target


def unpack(suite: str, packages: Sequence[str], target: Path) -> None:
    """Unpack packages of a suite, and all that they need, into ``target``; no script of them is run.

    Nothing of this machine counts as there. Undelivered where the suite has not all of it.
    """
    ensure(KEYRING)
    mirror, _ = mirrors("\n".join(apt_sources()))
    with tempfile.TemporaryDirectory() as scratch:
        own = Path(scratch)
        own.chmod(0o755)  # apt-get fetches as a user of its own
        (own / "sources.list").write_text(f"deb [signed-by={KEYRING_FILE}] {mirror} {suite} main\n")
        (own / "status").touch()
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (own / folder).mkdir(parents=True)
        places = {"Etc::sourcelist": "sources.list", "State": "state", "State::status": "status", "Cache": "cache"}
        options = [f"-oDir::{name}={own / place}" for name, place in places.items()]
        options += ["-oDir::Etc::sourceparts=-", "-oDebug::NoLocking=1"]
        try:
            _apt("update", "-q", *options)
            _apt("install", "-q", "-y", "--download-only", "--no-install-recommends", *options, *packages)
        except Failure as failure:
            raise Undelivered(f"Debian's {suite} does not deliver {' '.join(packages)}: {failure}") from failure
        for file in sorted((own / "cache" / "archives").glob("*.deb")):
            run(["dpkg-deb", "--extract", file, target])


def apt_sources() -> list[str]:
    """Return the machine's own lists of where packages come from."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return [file.read_text() for file in files if file.is_file() and file.suffix in (".list", ".sources")]


def mirrors(sources: str) -> tuple[str, str]:
    """Return the addresses of Debian's packages and of its security updates out of a machine's apt sources."""
    addresses = [word for line in sources.splitlines() if not line.lstrip().startswith("#")
                 for word in line.split() if re.match(r"https?://", word)]  # fmt: skip
    plain = [address.rstrip("/") for address in addresses]
    security = next((one for one in plain if one.endswith("/debian-security")), f"{DEFAULT_MIRROR}-security")
    return next((one for one in plain if one.endswith("/debian")), DEFAULT_MIRROR), security


def _apt(*arguments: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=600", *arguments],
        cwd=cwd,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise Failure(f"apt-get {arguments[0]} failed with exit code {done.returncode}:\n{said}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep package scripts from starting services; a policy of the machine's own is left as it is."""
    ours = not POLICY.exists() or POLICY.read_text() == POLICY_TEXT
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)
