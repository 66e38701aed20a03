"""The base image for builds without a registry: a minimal Debian with this machine's own package settings in it.

Builds on it take packages from where the machine takes them, through its proxy and with its certificate authorities.
It stays on this machine: it is no image to publish.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hack import debian
from hack.common import Failure, cache_dir, file_lock, progress, run, succeeds

SUITE = "bookworm"
REFERENCE = f"localhost/debian:{SUITE}"
LABEL = "databosun.base"
LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
CARRIED = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL")
PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
# As in Debian's own slim image: nothing of apt's caches stays in a layer, no package brings manuals or translations.
APT_KEEPS_NOTHING = """DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
LEFT_OUT = ("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man")
DPKG_LEAVES_OUT = "".join(f"path-exclude /{one}/*\n" for one in LEFT_OUT) + "path-include /usr/share/doc/*/copyright\n"


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the image is made from; the same inputs need no new image."""

    mirror: str
    security_mirror: str
    apt: str
    pip: str
    authorities: Mapping[str, str]
    environment: Mapping[str, str]

    def key(self) -> str:
        recipe = Path(__file__).read_bytes()
        return hashlib.sha256(recipe + json.dumps(asdict(self)).encode()).hexdigest()[:16]


def ensure(*, again: bool = False) -> str:
    """Have the base image for the machine's present settings and return its name; ``again`` makes it anew."""
    if os.geteuid() != 0:
        raise Failure("making a base image needs root (debootstrap)")
    debian.ensure({**PACKAGES, **debian.KEYRING})
    inputs = _inputs()
    with file_lock(cache_dir() / "locks" / "base-image.lock", "the base image"):
        if again or _label() != inputs.key():
            progress(f"making {REFERENCE} from {inputs.mirror} (about a minute)")
            with tempfile.TemporaryDirectory(dir=_workspace(), prefix="base-") as folder:
                _make(Path(folder), inputs)
            progress(f"made {REFERENCE}")
    return REFERENCE


def _workspace() -> Path:
    """Return a folder on a real disk; what a killed run left in it is removed."""
    workspace = cache_dir() / "work"
    workspace.mkdir(parents=True, exist_ok=True)
    for remains in workspace.glob("base-*"):
        _unmount(remains)
        shutil.rmtree(remains)
    return workspace


def _unmount(folder: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        run(["umount", point])


def _label() -> str | None:
    if not succeeds(["buildah", "inspect", "--type=image", REFERENCE]):
        return None
    found = json.loads(run(["buildah", "inspect", "--type=image", REFERENCE]))
    labels = found.get("OCIv1", {}).get("config", {}).get("Labels") or {}
    return labels.get(LABEL)


def _inputs() -> Inputs:
    main, security = debian.mirrors("\n".join(debian.apt_sources()))
    found = {str(file.relative_to(LOCAL_AUTHORITIES)): file for file in sorted(LOCAL_AUTHORITIES.rglob("*.crt"))}
    settings = [line for line in run(["apt-config", "dump"]).splitlines() if line.startswith("Acquire::")]
    pip = Path("/etc/pip.conf")
    own = {"SSL_CERT_FILE": AUTHORITIES, "PIP_CERT": AUTHORITIES, "UV_SYSTEM_CERTS": "true"}
    return Inputs(
        mirror=main,
        security_mirror=security,
        apt="\n".join(settings) + "\n",
        pip=pip.read_text() if pip.exists() else "",
        authorities={name: file.read_text() for name, file in found.items()},
        environment={**own, **{name: os.environ[name] for name in CARRIED if name in os.environ}},
    )


def _make(folder: Path, inputs: Inputs) -> None:
    root, context = folder / "root", folder / "context"
    context.mkdir()
    run(["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, inputs.mirror])
    for name, text in inputs.authorities.items():
        file = root / LOCAL_AUTHORITIES.relative_to("/") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    run(["chroot", root, "/usr/sbin/update-ca-certificates"])
    sources = [f"deb {inputs.mirror} {suite} main" for suite in (SUITE, f"{SUITE}-updates")]
    sources.append(f"deb {inputs.security_mirror} {SUITE}-security main")
    (root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
    (root / "etc/apt/apt.conf.d/90machine").write_text(inputs.apt)
    (root / "etc/apt/apt.conf.d/docker-clean").write_text(APT_KEEPS_NOTHING)
    (root / "etc/dpkg/dpkg.cfg.d/docker").write_text(DPKG_LEAVES_OUT)
    if inputs.pip:
        (root / "etc/pip.conf").write_text(inputs.pip)
    for emptied in ("var/cache/apt", "var/lib/apt/lists", "var/log", "tmp"):
        for path in (root / emptied).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [path for one in LEFT_OUT for path in (root / one).rglob("*")]:
        if path.name != "copyright" and not path.is_dir():
            path.unlink()
    run(["tar", "--create", "--numeric-owner", f"--file={context}/root.tar", f"--directory={root}", "."])
    environment = " ".join(f"{name}={json.dumps(value)}" for name, value in inputs.environment.items())
    (context / "Containerfile").write_text(
        f'FROM scratch\nADD root.tar /\nENV {environment}\nLABEL {LABEL}="{inputs.key()}"\nCMD ["bash"]\n'
    )
    run(["buildah", "bud", "--quiet", "--isolation=chroot", f"--tag={REFERENCE}", context])
