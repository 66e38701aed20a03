"""Tells a webhook how a restore ended. That it cannot be told is noted, and changes nothing else."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from databosun.agent.context import Context
from databosun.agent.secrets import NOTIFY
from databosun.api.restoretasks import BridgeTask, RestoreTask
from databosun.api.result import Result

URL_FILE = "url"
PATIENCE_SECONDS = 10.0
_MOST_BYTES = 16 * 1024
_SHOWN = 20


def notify(ctx: Context, result: Result) -> Result:
    """The result, with a note where nobody could be told."""
    task = ctx.request.job
    if not ctx.secrets.has(NOTIFY) or not isinstance(task, RestoreTask | BridgeTask):
        return result
    failed = _post(ctx, _document(ctx, task, result))
    if failed is None:
        ctx.log.info("notified")
        return result
    ctx.log.warning("not notified", message=failed)
    if result.restore is None:
        return result.model_copy(update={"message": f"{result.message}; {failed}"})
    notes = [*result.restore.notes, failed]
    return result.model_copy(update={"restore": result.restore.model_copy(update={"notes": notes})})


def _document(ctx: Context, task: RestoreTask | BridgeTask, result: Result) -> bytes:
    """What is told: outcome and places, without any secret. Shortened where it would be long."""
    found = result.restore
    target = task.target.name if isinstance(task, BridgeTask) else task.claim
    document = {
        "kind": "Restore",
        "namespace": ctx.storage.namespace,
        "name": task.id,
        "database": task.candidates[0].database,
        "target": target,
        "attempt": ctx.request.attempt,
        "outcome": str(result.outcome),
        "staged": found.staged if found else False,
        "reason": result.reason,
        "message": ctx.log.redactor.text(result.message)[:2000],
        "retryable": result.retryable,
        "backup": found.backup if found else None,
        "lastCommit": found.last_commit.isoformat() if found and found.last_commit else None,
        "placed": [one.dump() for one in found.placed[:_SHOWN]] if found else [],
        "at": ctx.clock().isoformat(),
    }
    data = json.dumps(ctx.log.redactor.document(document)).encode()
    if len(data) > _MOST_BYTES:
        data = json.dumps(ctx.log.redactor.document({**document, "placed": []})).encode()
    return data


def _post(ctx: Context, body: bytes) -> str | None:
    """Why it was not taken; None where it was. Never names the URL, which may hold a token."""
    path = ctx.secrets.path(NOTIFY, URL_FILE)
    if path is None or not path.is_file():
        return f"nobody was told: Secret {ctx.secrets.name(NOTIFY)} of spec.notify, or its key, is not there"
    url = path.read_text(errors="replace").strip()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"nobody was told: Secret {ctx.secrets.name(NOTIFY)} holds no http or https URL"
    # No proxy and no redirect: nobody but whom the Secret names.
    opener = build_opener(ProxyHandler({}), _Stay())
    headers = {"Content-Type": "application/json", "User-Agent": "databosun"}
    try:
        with opener.open(Request(url, data=body, headers=headers), timeout=PATIENCE_SECONDS):  # noqa: S310 (see above)
            return None
    except HTTPError as error:
        return f"nobody was told: the webhook of spec.notify answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        return f"nobody was told: the webhook of spec.notify cannot be reached ({ctx.log.redactor.text(str(reason))})"


class _Stay(HTTPRedirectHandler):
    """Follows nothing: an answer that points elsewhere is no success."""

    def redirect_request(self, *_: object) -> None:
        return None
