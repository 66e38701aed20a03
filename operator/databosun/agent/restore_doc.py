"""RESTORE.md: how a person restores this very backup by hand: standard tools, no Databosun, no cluster.

The agent's part fetches, checks, decrypts and joins; the engine's part goes from there to a checked database.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from databosun.api.quantities import humanize_bytes
from databosun.api.request import VOLUME_PATH
from databosun.api.targets import StorageTarget
from databosun.storage.layout import BackupFolder, Layout
from databosun.storage.manifest import Manifest
from databosun.storage.port import ObjectStore

STORED = "stored"


def render(
    store: ObjectStore, target: StorageTarget, chain: Sequence[tuple[BackupFolder, Manifest]], engine: str
) -> str:
    """The whole document. `chain`: base first, this backup last; `engine`: the engine's own part, in Markdown."""
    manifest = chain[-1][1]
    encrypted = any(artefact.encryption for _, one in chain for artefact in one.artefacts)
    parts = [
        _head(manifest, chain),
        _needs(target, encrypted=encrypted),
        _fetch(store, target, chain),
        _check(chain),
        _join(chain, encrypted=encrypted),
        engine.strip(),
        _erased(store, target, manifest),
        _trust(target, manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: Manifest, chain: Sequence[tuple[BackupFolder, Manifest]]) -> str:
    database = manifest.database
    whole = " + ".join(f"`{one.id}` ({one.type})" for _, one in chain)
    return f"""# Restore {manifest.id} by hand

| | |
| --- | --- |
| Database | `{database.namespace}/{database.name}`, {database.engine} {database.engine_version} |
| Backup | {manifest.type}, {manifest.method}, completed {manifest.completed_at.isoformat()} |
| Data | {humanize_bytes(manifest.logical_bytes)}, stored as {humanize_bytes(manifest.stored_bytes)} |
| Needs | {whole} |

The blocks marked `bash` are run in one working folder, in this order; each stops at the first failure. Nothing
here changes the storage."""


def _needs(target: StorageTarget, *, encrypted: bool) -> str:
    needs = ["`sha256sum` (coreutils)", "`zstd`, where the names of artefacts end in `.zst`"]
    if target.s3:
        needs.insert(
            0, "`aws`, the AWS command line (any other S3 client will do), with credentials that may read the bucket"
        )
    if encrypted:
        recipients = ", ".join(f"`{one}`" for one in target.age_recipients)
        needs.append(f"`age`, and in the file `$AGE_IDENTITY` an identity of one of {recipients}")
    needs.append("the tools of the database, as named below")
    lines = ["## 1. What you need", "", *(f"- {need}" for need in needs)]
    if encrypted:
        lines += ["", *_block("set -euo pipefail", 'export AGE_IDENTITY="${AGE_IDENTITY:-$HOME/age-identity.txt}"')]
    return "\n".join(lines)


def _fetch(store: ObjectStore, target: StorageTarget, chain: Sequence[tuple[BackupFolder, Manifest]]) -> str:
    commands = ["set -euo pipefail", *_reach(target)]
    # Said on each command too: programs older than 2.13 do not read the variable, and would ask Amazon instead.
    at = '--endpoint-url "$AWS_ENDPOINT_URL" ' if target.s3 and target.s3.endpoint else ""
    for folder, manifest in chain:
        stored = f"{manifest.id}/{STORED}"
        commands.append(f"mkdir -p {stored}")
        if target.s3:
            attempt, document = store.url(folder.attempt(manifest.attempt)), store.url(folder.manifest)
            commands.append(f"aws s3 cp {at}--recursive --only-show-errors {shlex.quote(attempt)}/ {stored}/")
            commands.append(f"aws s3 cp {at}--only-show-errors {shlex.quote(document)} {manifest.id}/")
        else:
            commands.append(f'cp -R "$STORAGE"/{shlex.quote(folder.attempt(manifest.attempt))}/. {stored}/')
            commands.append(f'cp "$STORAGE"/{shlex.quote(folder.manifest)} {manifest.id}/')
    text = ["## 2. Fetch", "", *_block(*commands)]
    if target.s3 and target.s3.force_path_style:
        text += ["", "This store wants path-style addresses: `aws configure set default.s3.addressing_style path`."]
    return "\n".join(text)


def _reach(target: StorageTarget) -> list[str]:
    """What the commands need to find the storage."""
    if target.s3 is None:
        folder = shlex.quote(f"{VOLUME_PATH}{(target.volume_path or '').rstrip('/')}")
        return [
            "# the folder of BackupStorage's spec.volume.path, wherever you have mounted the claim",
            f"STORAGE=${{STORAGE:-{folder}}}",
        ]
    lines = [f"export AWS_DEFAULT_REGION={shlex.quote(target.s3.region)}"]
    if target.s3.endpoint:
        lines.append(f"export AWS_ENDPOINT_URL={shlex.quote(target.s3.endpoint)}")
    return lines


def _check(chain: Sequence[tuple[BackupFolder, Manifest]]) -> str:
    sums = [
        f"{part.sha256}  {manifest.id}/{STORED}/{part.name}"
        for _, manifest in chain
        for artefact in manifest.artefacts
        for part in artefact.parts
    ]
    return "\n".join(
        [
            "## 3. Check",
            "",
            "Every stored object has the SHA-256 that was computed while it was written:",
            "",
            *_block("sha256sum --check --strict --quiet <<'END'", *sums, "END"),
        ]
    )


def _join(chain: Sequence[tuple[BackupFolder, Manifest]], *, encrypted: bool) -> str:
    how = "Decrypt and join" if encrypted else "Join"
    commands = ["set -euo pipefail"]
    for _, manifest in chain:
        for artefact in manifest.artefacts:
            commands += _join_one(
                manifest.id, artefact.name, [part.name for part in artefact.parts], artefact.encryption
            )
    tail = (
        f"Each artefact now lies whole at `<backup>/<artefact>`; the folders `<backup>/{STORED}` may go. What ends in "
        "`.zst` is still compressed: `zstd -t FILE` checks it, `zstd -dc FILE` writes its content to standard output."
    )
    return "\n".join([f"## 4. {how}", "", *_block(*commands), "", tail])


def _join_one(backup_id: str, name: str, parts: Sequence[str], encryption: object) -> list[str]:
    target = f"{backup_id}/{name}"
    folder = str(Path(target).parent)
    make = [f"mkdir -p {folder}"] if folder != backup_id else []
    sources = " ".join(f"{backup_id}/{STORED}/{part}" for part in parts)
    if encryption:
        return [*make, f'cat {sources} | age --decrypt --identity "$AGE_IDENTITY" > {target}']
    return [*make, f"cat {sources} > {target}"]


def _trust(target: StorageTarget, manifest: Manifest) -> str:
    lines = [
        "## Is this the backup that was taken?",
        "",
        "The digests above come from `manifest.json`, and so does this file's own (`files`). Whoever may write to the "
        "storage could have replaced all of them. The digest of `manifest.json` itself stands in the Backup object, "
        "where the cluster still has it:",
        "",
        *_aside(
            f"sha256sum {manifest.id}/manifest.json",
            f"kubectl -n {manifest.database.namespace} get backups.databosun.io {manifest.id} \\",
            "  -o jsonpath='{.status.checksum}'",
        ),
    ]
    if target.signed and target.public_key:
        lines += [
            "",
            "It is also signed (Ed25519). With `jq` and OpenSSL 3, and the public key from a place that you trust:",
            "",
            *_aside(
                f"jq -cjS 'del(.signature)' {manifest.id}/manifest.json > payload.json",
                f"jq -r .signature.value {manifest.id}/manifest.json | base64 -d > payload.sig",
                "openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in payload.json -sigfile payload.sig",
            ),
        ]
    return "\n".join(lines)


def _erased(store: ObjectStore, target: StorageTarget, manifest: Manifest) -> str:
    """What nobody but a restore by Databosun does by itself."""
    ledger = store.url(Layout(target.prefix, target.namespace).erasures)
    lines = [
        "## People who were erased since",
        "",
        f"Whoever asked to be forgotten after {manifest.completed_at.isoformat()} is in this backup. Where {ledger}",
        "exists, look there before anybody uses what was restored: each `entry.json` names in `order.rules` a table,",
        "its `subjectColumn`, and what became of the rows whose value in it has the hash `subject`; or in `keys` a",
        "pattern of names that went, in which `$(subject)` stands for a value of that hash. The key is the one",
        "of the BackupStorage's `spec.erasure.keySecretRef`; the hash of a value:",
        "",
        *_aside('printf \'databosun erasure subject\\0%s\' "$VALUE" | openssl dgst -sha256 -hmac "$KEY"'),
        "",
        "Do the same to these rows. An entry whose `done.json` names an instant before this backup needs nothing.",
    ]
    return "\n".join(lines)


def _block(*commands: str) -> list[str]:
    """Steps of the restore."""
    return ["```bash", *commands, "```"]


def _aside(*commands: str) -> list[str]:
    """Commands beside the restore, which may need what a restore does not."""
    return ["```sh", *commands, "```"]
