"""What names in the bucket are made of."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")

_ARTEFACT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


def is_name(text: str) -> bool:
    """Whether a folder in the bucket can be that of a database or a backup; people put other things there too."""
    return NAME.fullmatch(text) is not None


def artefact_name(name: str) -> str:
    """Check the name of an artefact or stored object: a relative path of plain names. ValueError."""
    return whole(_ARTEFACT, name, "an artefact")


def volume_name(stored: str, number: int) -> str:
    """The object that holds one volume of an artefact: `base.tar.zst.age` and 0 make `base.tar.zst.age.0000`."""
    return f"{artefact_name(stored)}.{number:04d}"


def stored_name(name: str, *, encrypted: bool) -> str:
    """The artefact's name as stored, before the volume number."""
    return f"{name}.age" if encrypted else name


def whole(pattern: re.Pattern[str], text: str, what: str) -> str:
    """The text, if it is such a name as a whole. ValueError."""
    if not pattern.fullmatch(text):
        msg = f"{text!r} is no name of {what} in the bucket; expected {pattern.pattern}"
        raise ValueError(msg)
    return text
