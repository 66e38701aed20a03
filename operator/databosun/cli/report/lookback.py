"""`databosun report --restore`: what became of one restore, from its object, its record, or both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from databosun import __version__
from databosun.api.postmortem import PostMortem
from databosun.cli import asking
from databosun.cli.reasons import CliReason
from databosun.cli.report import files
from databosun.cli.report.cluster import copy_check
from databosun.cli.report.command import Format, Wish
from databosun.cli.running import explain
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.postmortem import KnownRestore, look_back
from databosun.domain.records import Found
from databosun.domain.review import review_of
from databosun.kube.resources import BACKUP_STORAGES, RESTORES


def offline(wish: Wish, name: str, folder: Path, now: datetime) -> PostMortem:
    """The page from a copy of the store. UserFault where the record is not there, or is none."""
    found = files.read_restore(folder, name, files.read_keys(wish.keys))
    try:
        return look_back(None, found, now, __version__)
    except ValueError as error:
        message = f"{found.where}: {error}"
        raise UserFault(CliReason.BAD_USAGE, message) from error


async def online(session: Session, name: str, *, records: bool) -> PostMortem:
    """The page of a Restore of the cluster, with its record where that can be read."""
    one = known(await session.find(RESTORES, name))
    found, note = await _record(session, one) if records and one.status.record is not None else (None, None)
    page = look_back(one, found, session.clock.now(), __version__)
    return page.model_copy(update={"sources": [*page.sources, note]}) if note else page


async def _record(session: Session, one: KnownRestore) -> tuple[Found | None, str | None]:
    chosen = next((each for each in one.status.candidates or () if each.name == one.status.backup), None)
    if chosen is None or chosen.storage is None:
        return None, "nothing says which storage holds its record"
    try:
        storage = read.storage(await session.find(BACKUP_STORAGES, chosen.storage))
        return await asking.restore_record(session, storage, chosen.database, one.name), None
    except DatabosunError as error:
        return None, f"its record could not be read: {explain(error)}"


def known(body: Mapping[str, Any]) -> KnownRestore:
    """A Restore as a page shows it."""
    seen = read.restore(body)
    spec: Mapping[str, Any] = body.get("spec", {})
    source = spec.get("from", {})
    return KnownRestore(
        namespace=seen.meta.namespace,
        name=seen.meta.name,
        created=seen.meta.created,
        database=source.get("databaseRef", {}).get("name"),
        target=_target(spec.get("target", {})),
        asked=_asked(spec),
        status=seen.status,
        checks=tuple(copy_check(one) for one in seen.status.checks or ()),
        review=review_of(seen.meta.annotations),
    )


def _target(target: Mapping[str, Any]) -> str:
    if "volume" in target:
        return f"volume {target['volume'].get('claimName', '?')}"
    named = target.get("databaseRef", {}).get("name")
    return f"Database {named}" if named else ", ".join(target) or "unknown"


def _asked(spec: Mapping[str, Any]) -> str:
    names = {"pointInTime": "to", "lsn": "to", "restorePoint": "to restore point", "gtid": "to transaction"}
    points = [f"{words} {spec[name]}" for name, words in names.items() if name in spec]
    until = {"EndOfBackup": "to the end of the backup", "Latest": "to the end of the log"}.get(spec.get("until", ""))
    return points[0] if points else until or "to the newest point that can be had"


def render(found: PostMortem, form: Format) -> bytes:
    """The page in one of its forms."""
    from databosun.cli.report import page, text

    if form is Format.JSON:
        return text.as_json(found).encode()
    made = page.page_of(found)
    texts: dict[Format, Callable[[page.Page], str]] = {Format.HTML: page.as_html, Format.MD: page.as_markdown}
    return texts[form](made).encode() if form in texts else page.as_pdf(made)
