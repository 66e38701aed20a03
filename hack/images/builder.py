"""Builds images of the project with Docker where it answers, else with buildah."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hack import debian, mongodb
from hack.cluster.kind import docker_answers
from hack.common import cache_dir, file_lock, progress, run
from hack.images import base
from hack.images.catalog import ROOT, Image
from hack.tools import toolbox

# What is built or brought on this machine for an image, by the name in the list.
PROGRAMS = {"mongodb": mongodb.programs, "mysql": lambda: toolbox.get("mysql").parent}


def build(images: Sequence[Image], arguments: Mapping[str, str]) -> None:
    """Build images one after the other; ``arguments`` go to every build and win over the list's own."""
    docker = docker_answers()
    own = {} if docker else {"BASE_IMAGE": base.ensure()}
    if not docker:
        debian.ensure(base.PACKAGES)
    with file_lock(cache_dir() / "locks" / "images.lock", "other images are being built"):
        for image in images:
            progress(f"building {image.reference}")
            words = command(image, {**own, **image.args, **arguments}, docker=docker)
            if image.programs:
                words.insert(2, f"--build-context=programs={PROGRAMS[image.programs]()}")
            run(words, cwd=ROOT)


def command(image: Image, arguments: Mapping[str, str], *, docker: bool) -> list[str]:
    """Return the command line that builds one image."""
    start = ["docker", "build"] if docker else ["buildah", "bud", "--layers", "--isolation=chroot", "--format=docker"]
    flags = [f"--build-arg={name}={value}" for name, value in sorted(arguments.items())]
    return [*start, f"--file={image.file}", f"--target={image.target}", *flags, f"--tag={image.reference}", "."]
