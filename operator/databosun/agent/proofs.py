"""What the evidence in a bucket says was proven of its backups; believed only where a demanded signature is right."""

from __future__ import annotations

from collections.abc import Mapping

from databosun.agent.context import Context
from databosun.api.evidence import Evidence
from databosun.api.result import CatalogProof
from databosun.domain.drill import LEVELS
from databosun.domain.records import parse_record
from databosun.domain.sealing import is_signed
from databosun.storage.manifest import MAX_MANIFEST_BYTES
from databosun.storage.names import is_name
from databosun.storage.port import ObjectMissing

Proofs = Mapping[tuple[str, str], CatalogProof]


def proofs_of(ctx: Context, database: str) -> Proofs:
    """The proof of each backup of a database, by its id and the digest of its manifest; empty where nothing is signed.

    Of several the deepest look counts, and of equally deep ones the newest.
    """
    found: dict[tuple[str, str], CatalogProof] = {}
    if ctx.public_key is None:
        return found
    for run in ctx.store.folders(ctx.layout.drills(database)):
        ctx.stop.check()
        evidence = _read(ctx, database, run) if is_name(run) else None
        if evidence is None or not evidence.proven or evidence.level_reached is None:
            continue
        proof = CatalogProof(level=evidence.level_reached, at=evidence.completed_at, run=run)
        about = evidence.backup, evidence.backup_manifest_sha256.lower()
        if about not in found or _rank(found[about]) <= _rank(proof):
            found[about] = proof
    return found


def _rank(proof: CatalogProof) -> tuple[int, float]:
    return LEVELS.index(proof.level), proof.at.timestamp()


def _read(ctx: Context, database: str, run: str) -> Evidence | None:
    """A record that lies where it was written and is signed; any other is passed over, and said in the log."""
    key = ctx.layout.drill(database, run)
    try:
        data = ctx.store.get(key, limit=MAX_MANIFEST_BYTES)
        evidence = parse_record(data)
    except ObjectMissing:
        return None
    except ValueError as error:
        ctx.log.warning("no evidence", key=key, message=str(error))
        return None
    about = evidence.database.name if evidence.database else database
    if (evidence.run, about) != (run, database) or ctx.public_key is None or not is_signed(data, ctx.public_key):
        ctx.log.warning("no evidence", key=key, message="it is not signed as it should be, or of another drill")
        return None
    return evidence
