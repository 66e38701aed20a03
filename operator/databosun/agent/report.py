"""What an agent leaves behind: the full result as numbered log lines, and the termination message."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.api.result import MAX_RESULT_BYTES, MAX_TERMINATION_BYTES, Result, Summary

CHUNK = 6000  # characters; a chunk of nothing but quotes still makes a line below 16 KiB
LONGEST_MESSAGE = 1500
LONGEST_REASON = 64
FEWEST_OBJECTS = 50


def report(result: Result, log: Log, termination: Path) -> Summary:
    """Write the result, the termination message last."""
    text = result_text(result, log.redactor)
    pieces = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    for number, piece in enumerate(pieces, start=1):
        log.chunk("result", number, len(pieces), piece)
    summary = Summary(
        outcome=result.outcome,
        reason=_plain(result.reason)[:LONGEST_REASON],
        message=_plain(log.redactor.text(result.message))[:LONGEST_MESSAGE],
        retryable=result.retryable,
        attempt=result.attempt,
        result_sha256=hashlib.sha256(text.encode()).hexdigest(),
        result_lines=len(pieces),
        result_bytes=len(text.encode()),
    )
    termination.write_bytes(termination_bytes(summary))
    return summary


def result_text(result: Result, redactor: Redactor) -> str:
    """The full result as ASCII JSON of at most 256 KiB, redacted. Lists are shortened where it would be longer."""
    document = result.model_copy(update={"message": redactor.text(result.message)})
    while True:
        text = json.dumps(redactor.document(document.dump()), separators=(",", ":"), sort_keys=True)
        if len(text) <= MAX_RESULT_BYTES:
            return text
        document = _shorter(document)


def termination_bytes(summary: Summary) -> bytes:
    """The message for the kubelet: JSON of at most 4096 bytes; the text is cut, never the JSON."""
    while (
        len(data := json.dumps(summary.dump(), separators=(",", ":"), ensure_ascii=False).encode())
        > MAX_TERMINATION_BYTES
    ):
        cut = summary.message[: len(summary.message) * 3 // 4]
        summary = summary.model_copy(update={"message": f"{cut.rstrip('…')}…" if cut else ""})
    return data


def _shorter(result: Result) -> Result:
    """Less of what is long and least needed: objects of a backup, then prose, then everything but the verdict."""
    backup = result.backup
    if backup and len(backup.objects) > FEWEST_OBJECTS:
        kept = max(FEWEST_OBJECTS, len(backup.objects) // 2)
        return result.model_copy(update={"backup": backup.model_copy(update={"objects": backup.objects[:kept]})})
    if len(result.message) > LONGEST_MESSAGE:
        return result.model_copy(update={"message": f"{result.message[: LONGEST_MESSAGE - 1]}…"})
    if backup and (backup.notes or backup.objects):
        return result.model_copy(update={"backup": backup.model_copy(update={"notes": [], "objects": []})})
    return Result(
        outcome=result.outcome,
        reason=result.reason[:LONGEST_REASON],
        message=result.message,
        retryable=result.retryable,
        attempt=result.attempt,
    )


def _compact(summary: Summary) -> bytes:
    return json.dumps(summary.dump(), separators=(",", ":"), ensure_ascii=False).encode()


def _plain(text: str) -> str:
    """Text that UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()
