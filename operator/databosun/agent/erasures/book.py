"""The ledger of erasures in a store: an entry for each, written before a row is touched, and a mark once it is done.

An entry says by a keyed hash who was erased, and with which rules. So a restore finds the person in what it restored,
and nobody finds them in the ledger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from databosun.agent.context import Context
from databosun.agent.evidence import put_record, read_record
from databosun.agent.reasons import AgentReason
from databosun.api.erasure import ErasureDone, ErasureEntry
from databosun.api.targets import ERASURE, SUBJECT
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import FEWEST_KEY_BYTES, Erased, key_check
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.domain.sealing import digest_of
from databosun.storage.layout import ENTRY

READERS = 8


def demand_key(ctx: Context) -> bytes:
    """What subjects are hashed with. UserFault where it is not there, or too short to keep a secret."""
    name = ctx.secrets.name(ERASURE)
    text = ctx.secrets.text(ERASURE, "key")
    if not text:
        where = f"Secret {ctx.storage.namespace}/{name} has not the key that it names" if name else "it names none"
        message = f"spec.erasure.keySecretRef of BackupStorage {ctx.storage.name}: {where}"
        raise UserFault(Reason.ERASURE_KEY_MISSING, message)
    key = text.encode()
    if len(key) < FEWEST_KEY_BYTES:
        message = f"the key in Secret {name} has {len(key)} bytes; expected at least {FEWEST_KEY_BYTES}, of chance"
        raise UserFault(Reason.ERASURE_KEY_WEAK, message)
    return key


def demand_subject(ctx: Context) -> str:
    """The key of whoever is to be erased, from its Secret alone."""
    text = ctx.secrets.text(SUBJECT, SUBJECT)
    if not text:
        raise UserFault(AgentReason.SECRET_MISSING, "the request mounts no Secret with the subject's key")
    return text


def write_entry(ctx: Context, entry: ErasureEntry) -> tuple[str, str]:
    """Write it, or find it written by an attempt before. Where it is, and its SHA-256. UserFault(NameTaken)."""
    key = ctx.layout.erased(entry.id).entry
    there = read_record(ctx, key)
    if there is not None:
        known = _entry(ctx, key, there)
        if known.model_copy(update={"at": entry.at}) != entry:
            message = (
                f"{key} in {ctx.store.describe()} is of another erasure of this name; nothing was done: give the"
                " request a name that none had before"
            )
            raise UserFault(AgentReason.NAME_TAKEN, message)
        return ctx.store.url(key), digest_of(there)
    try:
        sha256 = put_record(ctx, key, entry.dump())
    except WorldFault as fault:
        raise WorldFault(fault.reason, f"{fault.message}; no row was touched") from fault
    return ctx.store.url(key), sha256


def write_done(ctx: Context, entry: ErasureEntry, entry_sha256: str, verified_at: datetime) -> None:
    """Say that no row with the subject is left."""
    done = ErasureDone(id=entry.id, uid=entry.uid, entry_sha256=entry_sha256, verified_at=verified_at)
    key = ctx.layout.erased(entry.id).done
    if read_record(ctx, key) is None:
        put_record(ctx, key, done.dump())


def read_ledger(ctx: Context, database: str, system: str | None) -> list[Erased]:
    """The erasures that backups of a database may lie before. SafetyStop where one cannot be read for sure."""
    keys = {one.key for one in ctx.store.list(ctx.layout.erasures)}
    entries = sorted(key for key in keys if key.endswith(f"/{ENTRY}"))
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda key: _read(ctx, key, keys), entries)
        return [one for one in found if one is not None and one.concerns(database, system)]


def _read(ctx: Context, key: str, keys: set[str]) -> Erased | None:
    data = read_record(ctx, key)
    if data is None:
        return None
    entry = _entry(ctx, key, data)
    if ctx.layout.erased(entry.id).entry != key:
        raise _invalid(ctx, key, f"it is of erasure {entry.id}")
    done = ctx.layout.erased(entry.id).done
    return Erased(entry, _done(ctx, done, entry, digest_of(data)) if done in keys else None)


def demand_same_key(ctx: Context, key: bytes, erased: list[Erased]) -> None:
    """UserFault(ErasureKeyWrong) where one was hashed with another key."""
    wrong = [one.entry.id for one in erased if one.entry.key_check != key_check(key)]
    if wrong:
        message = (
            f"the key in Secret {ctx.secrets.name(ERASURE)} is not the one that {', '.join(wrong[:5])} in the ledger of"
            f" BackupStorage {ctx.storage.name} were hashed with"
        )
        raise UserFault(Reason.ERASURE_KEY_WRONG, message)


def _entry(ctx: Context, key: str, data: bytes) -> ErasureEntry:
    try:
        return ErasureEntry.model_validate_json(data)
    except ValueError as error:
        raise _invalid(ctx, key, error) from error


def _done(ctx: Context, key: str, entry: ErasureEntry, sha256: str) -> ErasureDone | None:
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        done = ErasureDone.model_validate_json(data)
    except ValueError as error:
        raise _invalid(ctx, key, error) from error
    if (done.id, done.uid, done.entry_sha256) != (entry.id, entry.uid, sha256):
        raise _invalid(ctx, key, f"it is not of the entry beside it, {sha256}")
    return done


def _invalid(ctx: Context, key: str, error: Exception | str) -> SafetyStop:
    message = (
        f"{key} in {ctx.store.describe()} is no record of the ledger of erasures, of schema 1: {error}; what it says"
        " cannot be repeated, so nothing is restored before somebody has looked at it"
    )
    return SafetyStop(AgentReason.EVIDENCE_INVALID, message)
