"""The list of images in ``images.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hack.common import Failure

ROOT = Path(__file__).resolve().parents[2]
CATALOG = Path(__file__).with_name("images.toml")
KEYS = frozenset({"name", "target", "tag", "args", "file", "programs"})


@dataclass(frozen=True, slots=True)
class Image:
    """One image to build: a target of a build file, with its arguments; ``programs`` are made ready on this machine."""

    name: str
    target: str
    tag: str = "dev"
    args: Mapping[str, str] = field(default_factory=dict)
    file: str = "Dockerfile"
    programs: str = ""

    @property
    def reference(self) -> str:
        """The full name under which it is known to the builder and to the cluster."""
        return f"localhost/databosun/{self.name}:{self.tag}"


def read(file: Path = CATALOG) -> list[Image]:
    """Return all images of the list; Failure where an entry has an unknown or missing key."""
    found = []
    for entry in tomllib.loads(file.read_text()).get("image", []):
        if not {"name", "target"} <= entry.keys() <= KEYS:
            raise Failure(
                f"{file.name}: an image has a name and a target, and may have tag, args, file and programs: {entry}"
            )
        found.append(Image(**entry))
    return found


def select(images: Sequence[Image], wanted: Sequence[str]) -> list[Image]:
    """Return the images asked for by name (all its tags), name:tag or target; all of them when nothing is asked for."""
    chosen = [one for one in images if not wanted or {one.name, f"{one.name}:{one.tag}", one.target} & set(wanted)]
    known = {word for one in images for word in (one.name, f"{one.name}:{one.tag}", one.target)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise Failure(f"no such image: {' '.join(unknown)}; there are {' '.join(sorted(known))}")
    return chosen
