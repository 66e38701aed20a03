"""What lies in a folder that was copied from a store: records of drills and of restores, and manifests of backups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from databosun.api.catalog import FoundBackup
from databosun.cli.reasons import CliReason
from databosun.domain.errors import UserFault
from databosun.domain.records import Found
from databosun.domain.reportcoverage import KnownBackup
from databosun.domain.sealing import digest_of, public_key_of

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a folder that say something. `backups` None: it holds no manifest."""

    evidence: tuple[Found, ...]
    backups: tuple[KnownBackup, ...] | None
    manifests: Mapping[str, frozenset[str]]
    skipped: tuple[str, ...] = ()


def read_folder(root: Path, keys: tuple[Ed25519PublicKey, ...]) -> Folder:
    """Read it. UserFault where it is none; files that are too large or cannot be read are named, not passed over."""
    if not root.is_dir():
        message = f"--evidence {root} is no folder; copy one from the store, such as with: aws s3 sync s3://…/ FOLDER"
        raise UserFault(CliReason.BAD_USAGE, message)
    evidence: list[Found] = []
    backups: list[KnownBackup] = []
    manifests: dict[str, set[str]] = defaultdict(set)
    skipped: list[str] = []
    for path in _files(root):
        try:
            data = _read(path)
        except OSError as error:
            skipped.append(f"{path}: {error.strerror or error}")
            continue
        if path.name == "manifest.json":
            one = _backup(data)
            if one is None:
                skipped.append(f"{path}: this is no manifest that this release understands")
            else:
                backups.append(one)
                manifests[one.name].add(digest_of(data))
        else:
            evidence.append(Found(str(path), data, keys))
    digests = {name: frozenset(found) for name, found in manifests.items()}
    return Folder(tuple(evidence), tuple(backups) if backups else None, digests, tuple(skipped))


def read_restore(root: Path, name: str, keys: tuple[Ed25519PublicKey, ...]) -> Found:
    """The record of one restore, wherever in a folder it lies. UserFault where there is not exactly one."""
    found = [path for path in sorted(root.rglob("result.json")) if path.parent.name == name and path.is_file()]
    if len(found) != 1:
        what = "several records" if found else "no record"
        message = f"{root} holds {what} of restore {name}; expected one …/restores/{name}/result.json"
        raise UserFault(CliReason.BAD_USAGE, message)
    try:
        return Found(str(found[0]), _read(found[0]), keys)
    except OSError as error:
        message = f"{found[0]}: {error.strerror or error}"
        raise UserFault(CliReason.BAD_USAGE, message) from error


def read_keys(files: tuple[Path, ...]) -> tuple[Ed25519PublicKey, ...]:
    """The public keys in these files. UserFault names the one that holds none."""
    found = []
    for file in files:
        try:
            found.append(public_key_of(file.read_text()))
        except (OSError, ValueError) as error:
            message = f"--public-key {file} cannot be used: {error}; expected an Ed25519 public key in PEM"
            raise UserFault(CliReason.BAD_USAGE, message) from error
    return tuple(found)


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.json")):
        if path.is_file() and path.name != "result.json" and (path.name == "manifest.json" or _evidence(path.name)):
            yield path


def _evidence(name: str) -> bool:
    return name.startswith("evidence") or name.endswith("evidence.json")


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise OSError(0, f"it has more than {MAX_BYTES} bytes")
    return path.read_bytes()


def _backup(data: bytes) -> KnownBackup | None:
    try:
        found = FoundBackup.model_validate_json(data)
    except ValidationError:
        return None
    return KnownBackup(found.database.namespace, found.database.name, found.id, found.completed_at)
