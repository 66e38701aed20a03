"""`databosun verify-evidence FILE`: whether a record is what was written, offline, with nothing but files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from databosun.api.evidence import SCHEMA, Evidence
from databosun.domain.errors import UserFault
from databosun.domain.records import EDITED, UNSIGNED, parse_record
from databosun.domain.sealing import digest_of, is_canonical, is_signed
from databosun.storage.manifest import load_public_key


def verify(
    data: bytes, *, public_key: str | None = None, manifest: bytes | None = None, previous: bytes | None = None
) -> tuple[list[str], list[str]]:
    """What was found right, and what was found wrong; sentences."""
    right: list[str] = []
    wrong: list[str] = []
    try:
        evidence = parse_record(data)
    except ValueError as error:
        return [], [str(error)]
    right.append(
        f"drill {evidence.run} of {evidence.completed_at.isoformat()}: {evidence.verdict} ({evidence.reason}), backup "
        f"{evidence.backup}, SHA-256 of this file {digest_of(data)}"
    )
    if not is_canonical(data):
        wrong.append(EDITED)
    _check_signature(data, evidence, public_key, right, wrong)
    if manifest is not None:
        same = digest_of(manifest) == evidence.backup_manifest_sha256
        listed = evidence.backup_manifest_sha256
        (right if same else wrong).append(
            f"the manifest has SHA-256 {digest_of(manifest)}, the evidence {'too' if same else f'says {listed}'}"
        )
    if previous is not None:
        expected = evidence.previous.sha256 if evidence.previous else "none"
        same = digest_of(previous) == expected
        (right if same else wrong).append(
            f"the record before has SHA-256 {digest_of(previous)}, the evidence {'too' if same else f'says {expected}'}"
        )
    return right, wrong


def schema_text() -> str:
    """The JSON schema of evidence, as published in `docs/reference/`."""
    schema = Evidence.model_json_schema(by_alias=True, mode="serialization")
    return json.dumps({"$id": f"databosun.io/evidence/{SCHEMA}", **schema}, indent=2, sort_keys=True) + "\n"


def _check_signature(
    data: bytes, evidence: Evidence, public_key: str | None, right: list[str], wrong: list[str]
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
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of evidence, and end")
    parser.add_argument("--public-key", type=Path, help="PEM, as in spec.signing.publicKey")
    parser.add_argument("--manifest", type=Path, help="manifest.json of the backup")
    parser.add_argument("--previous", type=Path, help="evidence.json of the drill before")
    options = parser.parse_args(arguments)
    if options.schema:
        sys.stdout.write(schema_text())
        return 0
    if options.file is None:
        parser.error("the file is required")
    try:
        right, wrong = verify(
            options.file.read_bytes(),
            public_key=options.public_key.read_text() if options.public_key else None,
            manifest=options.manifest.read_bytes() if options.manifest else None,
            previous=options.previous.read_bytes() if options.previous else None,
        )
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    for sentence in right:
        sys.stdout.write(f"{sentence}\n")
    for sentence in wrong:
        sys.stderr.write(f"WRONG: {sentence}\n")
    return 1 if wrong else 0
