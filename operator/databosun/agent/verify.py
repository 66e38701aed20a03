"""`databosun verify-evidence FILE`: whether a record is what was written, offline, with nothing but files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from databosun.api.evidence import SCHEMA, Evidence, JointEvidence
from databosun.api.failoverevidence import FailoverEvidence
from databosun.domain.errors import UserFault
from databosun.domain.records import EDITED, UNSIGNED, AnyEvidence, parse_any
from databosun.domain.sealing import digest_of, is_canonical, is_signed
from databosun.storage.manifest import load_public_key


@dataclass(frozen=True, slots=True)
class Beside:
    """Other files that the record names by their digests. `members`: the evidence of each database of a joint drill."""

    manifest: bytes | None = None
    previous: bytes | None = None
    members: Sequence[bytes] = ()


def verify(data: bytes, *, public_key: str | None = None, beside: Beside | None = None) -> tuple[list[str], list[str]]:
    """What was found right, and what was found wrong; sentences."""
    right: list[str] = []
    wrong: list[str] = []
    others = beside or Beside()
    try:
        found = parse_any(data)
    except ValueError as error:
        return [], [str(error)]
    right.append(f"{_about(found)}, SHA-256 of this file {digest_of(data)}")
    if not is_canonical(data):
        wrong.append(EDITED)
    _check_signature(data, found, public_key, right, wrong)
    if others.manifest is not None:
        listed = found.backup_manifest_sha256 if isinstance(found, Evidence) else "nothing of a manifest"
        _compare("the manifest", others.manifest, listed, right, wrong)
    if others.previous is not None:
        before = None if isinstance(found, FailoverEvidence) else found.previous
        expected = before.sha256 if before else "none"
        _compare("the record before", others.previous, expected, right, wrong)
    for member in others.members:
        _check_member(member, found, right, wrong)
    return right, wrong


def _about(found: AnyEvidence) -> str:
    at = found.completed_at.isoformat()
    if isinstance(found, FailoverEvidence):
        told, of = found.result, f"{found.database.namespace}/{found.database.name}"
        return f"failover test {found.run} of {at}: {told.verdict} ({told.reason}), database {of}"
    if isinstance(found, Evidence):
        of = f"backup {found.backup}"
    else:
        of = f"databases {', '.join(one.database for one in found.members)}"
    return f"drill {found.run} of {at}: {found.verdict} ({found.reason}), {of}"


def _compare(what: str, data: bytes, expected: str, right: list[str], wrong: list[str]) -> None:
    same = digest_of(data) == expected
    (right if same else wrong).append(
        f"{what} has SHA-256 {digest_of(data)}, the evidence {'too' if same else f'says {expected}'}"
    )


def _check_member(data: bytes, found: AnyEvidence, right: list[str], wrong: list[str]) -> None:
    """One that the record of many names must be what it names."""
    try:
        member = parse_any(data)
    except ValueError as error:
        wrong.append(str(error))
        return
    if not isinstance(member, Evidence) or not isinstance(found, JointEvidence):
        wrong.append("a member is the evidence of one database, and goes with the evidence of a joint drill")
        return
    listed = next((one.evidence_sha256 or "none" for one in found.members if one.run == member.run), "nothing of it")
    _compare(f"the evidence of member {member.run}", data, listed, right, wrong)


def schema_text(kind: str = "drill") -> str:
    """The JSON schema of the evidence of one database, or of a joint drill, as published in `docs/reference/`."""
    model, name = (JointEvidence, "joint-evidence") if kind == "joint" else (Evidence, "evidence")
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    return json.dumps({"$id": f"databosun.io/{name}/{SCHEMA}", **schema}, indent=2, sort_keys=True) + "\n"


def _check_signature(
    data: bytes, evidence: AnyEvidence, public_key: str | None, right: list[str], wrong: list[str]
) -> None:
    if public_key is None:
        signed = "it is signed, but no public key was given" if evidence.signature else "it is not signed"
        right.append(f"{signed}: nothing says who wrote it")
        return
    try:
        key = load_public_key(public_key, "the file given as --public-key")
    except UserFault as fault:
        wrong.append(fault.message)
        return
    if is_signed(data, key):
        right.append("signed with the private key of this public key")
    else:
        wrong.append(UNSIGNED)


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 where nothing was found wrong."""
    parser = argparse.ArgumentParser(prog="databosun verify-evidence", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="evidence.json")
    parser.add_argument(
        "--schema",
        nargs="?",
        const="drill",
        choices=("drill", "joint"),
        help="print the JSON schema of evidence (of one database, or of a joint drill), and end",
    )
    parser.add_argument("--public-key", type=Path, help="PEM, as in spec.signing.publicKey")
    parser.add_argument("--manifest", type=Path, help="manifest.json of the backup")
    parser.add_argument("--previous", type=Path, help="evidence.json of the drill before")
    parser.add_argument(
        "--member", type=Path, action="append", default=[], help="evidence.json of a database of a joint drill"
    )
    options = parser.parse_args(arguments)
    if options.schema:
        sys.stdout.write(schema_text(options.schema))
        return 0
    if options.file is None:
        parser.error("the file is required")
    try:
        right, wrong = verify(
            options.file.read_bytes(),
            public_key=options.public_key.read_text() if options.public_key else None,
            beside=Beside(
                options.manifest.read_bytes() if options.manifest else None,
                options.previous.read_bytes() if options.previous else None,
                [path.read_bytes() for path in options.member],
            ),
        )
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    for sentence in right:
        sys.stdout.write(f"{sentence}\n")
    for sentence in wrong:
        sys.stderr.write(f"WRONG: {sentence}\n")
    return 1 if wrong else 0
