"""Names of runs and Jobs: functions of what they stand for, so that creating twice is harmless.

Every name is a DNS-1123 label. Kubernetes ends a Job's name and a label's value at 63 characters; a run keeps to 57, so
that the suffixes of its Jobs fit. What is too long is cut and carries a hash of the whole, so that two names never
become one by cutting.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

MAX_LABEL = 63
MAX_RUN = 57
MAX_DATABASE = 40

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_FOREIGN = re.compile(r"[^a-z0-9]+")


def run_name(database: str, slot: datetime, policy_uid: str, schedule: str, database_uid: str) -> str:
    """The run that answers one slot: `<database>-<yymmddhhmm, UTC>-<5 of hash>`, at most 57 characters."""
    instant = slot.astimezone(UTC).strftime("%y%m%d%H%M")
    return f"{_readable(database)}-{instant}-{_digest(5, policy_uid, schedule, database_uid, instant)}"


def run_now_name(database: str, policy_uid: str, database_uid: str, token: str) -> str:
    """The run that answers one run-now token, whenever it is seen: `<database>-now-<8 of hash>`, at most 53
    characters."""
    return f"{_readable(database)}-now-{_digest(8, policy_uid, database_uid, token)}"


def attempt_job_name(run: str, attempt: int) -> str:
    """The Job of one attempt at a run: `<run>-NN`."""
    return _with_suffix(run, f"-{attempt:02d}")


def recover_job_name(run: str, number: int) -> str:
    """The Job that reads a run's durable object, `number` counting the tries: `<run>-rNN`."""
    return _with_suffix(run, f"-r{number:02d}")


def task_job_name(kind: str, owner_name: str, token: str) -> str:
    """The Job of a task that is no run: `<kind>-<owner>-<8 of hash(kind, owner, token)>`.

    The same three give the same name: put into `token` what makes this task another than the last (uid, generation,
    slot, plan hash).
    """
    suffix = f"-{_digest(8, kind, owner_name, token)}"
    return _label(f"{kind}-{owner_name}", MAX_LABEL - len(suffix)) + suffix


def archiver_name(system_identifier: str) -> str:
    """The Deployment that ships one server's log: `archiver-<system identifier>`; its pods' names fit behind it."""
    return _with_suffix(f"archiver-{system_identifier}", "-00000000000-00000").removesuffix("-00000000000-00000")


def check_storage_id(value: str) -> str | None:
    """Say what is wrong with a run's name as a folder in the bucket; None where it may be one (a label of at most 57
    characters)."""
    if len(value) > MAX_RUN:
        return f"{value[:MAX_RUN]!r}… has {len(value)} characters; expected at most {MAX_RUN}"
    if not _LABEL.fullmatch(value):
        expected = "lower-case letters, digits and '-', with a letter or digit at both ends"
        return f"{value!r} cannot name a backup; expected {expected}"
    return None


def _with_suffix(run: str, suffix: str) -> str:
    room = MAX_LABEL - len(suffix)
    if len(run) <= room and _LABEL.fullmatch(run):
        return run + suffix
    mark = f"-{_digest(8, run)}"
    return _label(run, room - len(mark)) + mark + suffix


def _readable(database: str) -> str:
    return _label(database, MAX_DATABASE)


def _label(text: str, limit: int) -> str:
    """The nearest label to a text, for people; a hash beside it tells apart what this makes equal."""
    return _FOREIGN.sub("-", text.lower()).strip("-")[:limit].rstrip("-") or "x"


def _digest(length: int, *parts: str) -> str:
    """Characters of five bits each from a hash of the parts; lengths go in, so that moving a border changes it."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(_ALPHABET[(number >> 5 * place) & 31] for place in range(length))
