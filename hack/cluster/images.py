"""Brings images that buildah knows into the node's container runtime."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hack.cluster.daemons import PAUSE_IMAGE
from hack.cluster.layout import Layout
from hack.common import Failure, cache_dir, file_lock, made_whole, progress, run, write_file

SOURCES = Path(__file__).parent / "kubebox"
PAUSE_CONTAINERFILE = 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'


def ctr(layout: Layout) -> list[str | Path]:
    """Return the beginning of a command to the node's container runtime."""
    return ["ctr", "--address", layout.containerd_socket, "--namespace", "k8s.io"]


def present(layout: Layout) -> set[str]:
    """Return the names of the images that the node has."""
    return set(run([*ctr(layout), "images", "list", "--quiet"]).split())


def ensure_pause(layout: Layout) -> None:
    """Have the image that holds a pod's namespaces on the node."""
    if PAUSE_IMAGE not in present(layout):
        run([*ctr(layout), "images", "import", _pause_archive()])


def load(layout: Layout, names: Sequence[str]) -> None:
    """Bring images to the node; those whose id is on it already are skipped."""
    file = layout.home / "images.json"
    ids = {name: _image_id(name) for name in names}
    loaded: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    there = present(layout)
    for name, image_id in ids.items():
        if name in there and loaded.get(name) == image_id:
            progress(f"{name} is on the node already")
            continue
        progress(f"loading {name}")
        with tempfile.TemporaryDirectory(dir=layout.home, prefix="load-") as folder:
            archive = Path(folder) / "image.tar"
            run(["buildah", "push", "--quiet", name, f"docker-archive:{archive}:{name}"])
            run([*ctr(layout), "images", "import", archive])
        if name not in present(layout):
            raise Failure(f"{name} was imported, but not under this name: give it with its registry and tag")
        loaded[name] = image_id
        write_file(file, json.dumps(loaded, indent=1))


def _image_id(name: str) -> str:
    return run(["buildah", "inspect", "--type=image", "--format={{.FromImageID}}", name]).strip()


def _pause_archive() -> Path:
    """Return the archive of the pause image, built once."""
    source = SOURCES / "pause.c"
    key = hashlib.sha256(source.read_bytes() + PAUSE_CONTAINERFILE.encode()).hexdigest()[:16]
    target = cache_dir() / "images" / f"pause-{key}"
    with file_lock(cache_dir() / "locks" / "pause.lock", "the pause image"):
        if not target.exists():
            progress("building the pause image")
            with made_whole(target) as folder:
                context = folder / "context"
                context.mkdir()
                (context / "Containerfile").write_text(PAUSE_CONTAINERFILE)
                run(["gcc", "-Os", "-static", "-o", context / "pause", source])
                run(["buildah", "bud", "--quiet", "--isolation=chroot", f"--tag={PAUSE_IMAGE}", context])
                run(["buildah", "push", "--quiet", PAUSE_IMAGE, f"docker-archive:{folder}/pause.tar:{PAUSE_IMAGE}"])
    return target / "pause.tar"
