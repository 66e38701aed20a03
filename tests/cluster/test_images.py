"""The list of images, and what goes into the base image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hack import debian
from hack.common import Failure
from hack.images import builder, catalog

from cluster.handle import HACK


def _build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HACK / "images" / "build", *arguments], capture_output=True, text=True, timeout=60)


def test_a_name_means_all_its_tags() -> None:
    printed = _build("--list", "runner-postgresql").stdout.split()
    assert printed == [f"localhost/databosun/runner-postgresql:{major}-dev" for major in (14, 15, 16, 17, 18)]


def test_one_image_by_name_and_tag() -> None:
    assert _build("--list", "runner-postgresql:15-dev").stdout.split() == [
        "localhost/databosun/runner-postgresql:15-dev"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "no such image: nosuch; there are"),
        (["--build-arg=NAME", "operator"], "--build-arg is given as NAME=VALUE"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(arguments: list[str], message: str) -> None:
    refused = _build(*arguments)
    assert refused.returncode == 1
    assert message in refused.stderr


@pytest.mark.parametrize("entry", ['name = "a"', 'name = "a"\ntarget = "b"\ncolour = "red"'])
def test_a_wrong_entry_is_refused(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "images.toml"
    file.write_text(f"[[image]]\n{entry}\n")
    with pytest.raises(Failure, match="an image has a name and a target"):
        catalog.read(file)


@pytest.mark.parametrize("docker", [False, True])
def test_the_build_command(docker: bool) -> None:
    image = catalog.Image("runner", "stage", tag="15-dev")
    command = builder.command(image, {"PG_MAJOR": "15"}, docker=docker)
    assert command[0] == ("docker" if docker else "buildah")
    wanted = {
        "--target=stage",
        "--build-arg=PG_MAJOR=15",
        "--tag=localhost/databosun/runner:15-dev",
        "--file=Dockerfile",
    }
    assert wanted <= set(command)
    assert command[-1] == "."


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("", ("http://deb.debian.org/debian", "http://deb.debian.org/debian-security")),
        (
            "deb [arch=amd64] https://mirror.example/debian/ bookworm main\n# deb http://old.example/debian x main\n"
            "deb https://mirror.example/debian-security bookworm-security main",
            ("https://mirror.example/debian", "https://mirror.example/debian-security"),
        ),
        (
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n\nTypes: deb\nURIs: https://other.example/tool",
            ("http://mirror.example/debian", "http://deb.debian.org/debian-security"),
        ),
    ],
    ids=["none", "one-line-style", "deb822"],
)
def test_the_machines_mirrors_are_found(sources: str, expected: tuple[str, str]) -> None:
    assert debian.mirrors(sources) == expected
