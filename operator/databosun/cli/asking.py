"""Ask the operator a question that only reads: create an Inquiry, wait for its answer, and take it away again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from databosun.api.v1alpha1.inquiry import INQUIRY_FINAL, InquiryPhase
from databosun.cli.following import LOOK_EVERY, PICKED_UP_WITHIN
from databosun.cli.handmade import by_hand
from databosun.cli.reasons import CliReason
from databosun.cli.report.cluster import keys_of
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenInquiry, SeenStorage
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.domain.recordpage import unpack
from databosun.domain.records import Found
from databosun.kube.resources import INQUIRIES

START_WITHIN: Final = timedelta(hours=1)
PATIENCE: Final = timedelta(minutes=15)
MOST_PAGES: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask, of which namespace. `about` stands in the name."""

    namespace: str
    about: str
    spec: dict[str, Any]


async def ask(session: Session, question: Question, limit: timedelta | None) -> SeenInquiry:
    """The answered Inquiry; the object itself is gone by then. UserFault, WorldFault where there is no answer."""
    name = await _create(session, question)
    try:
        return await _follow(session, question.namespace, name, limit)
    finally:
        # Whatever came of it: nobody looks at it again, and the operator removes what stays behind.
        with suppress(DatabosunError):
            body = await session.kube.get(INQUIRIES, question.namespace, name)
            if body is not None:
                await session.kube.delete(INQUIRIES, question.namespace, name, uid=body["metadata"]["uid"])


async def _create(session: Session, question: Question) -> str:
    about, now = question.about[:40].rstrip("-"), session.clock.now()
    body = by_hand(INQUIRIES, question.namespace, about, question.spec, now, START_WITHIN)
    await session.kube.create(INQUIRIES, question.namespace, body)
    return str(body["metadata"]["name"])


async def _follow(session: Session, namespace: str, name: str, limit: timedelta | None) -> SeenInquiry:
    started, said = session.clock.monotonic(), ""
    while True:
        body = await session.kube.get(INQUIRIES, namespace, name)
        if body is None:
            message = f"Inquiry {namespace}/{name} was deleted while its answer was being waited for"
            raise UserFault(CliReason.SUPERSEDED, message)
        seen = read.inquiry(body)
        if seen.status.phase in INQUIRY_FINAL:
            return _answered(seen)
        waited = timedelta(seconds=session.clock.monotonic() - started)
        if limit is not None and waited >= limit:
            message = (
                f"Inquiry {namespace}/{name} has no answer after {limit}; is the operator there? kubectl bosun doctor"
            )
            raise WorldFault(CliReason.NO_ANSWER, message)
        now_so = _so_far(seen, waited)
        if now_so != said:
            session.screen.note(now_so)
            said = now_so
        await session.clock.sleep(LOOK_EVERY)


def _so_far(seen: SeenInquiry, waited: timedelta) -> str:
    status = seen.status
    if status.phase is None and waited >= PICKED_UP_WITHIN:
        return "the operator has not picked the inquiry up yet; is it there? kubectl bosun doctor"
    stage = status.progress.stage if status.progress else None
    ready = next((one.message for one in status.conditions if one.type == "Reconciling"), "")
    return f"asking: {stage or ready or 'waiting for the operator'}"


def _answered(seen: SeenInquiry) -> SeenInquiry:
    if seen.status.phase is InquiryPhase.SUCCEEDED:
        return seen
    failure = seen.status.failure
    reason, message = (failure.reason, failure.message) if failure else ("Failed", "no reason is recorded")
    raise UserFault(CliReason.NO_ANSWER, f"{reason}: {message}")


# --- records


async def records(
    session: Session, storage: SeenStorage, database: str | None, since: datetime
) -> tuple[list[Found], int]:
    """The evidence in a storage, to the byte, and how many objects could not be handed over."""
    keys, after, skipped = keys_of(storage), None, 0
    found: list[Found] = []
    for _ in range(MOST_PAGES):
        asked: dict[str, Any] = {
            "storageRef": {"name": storage.meta.name},
            "since": f"{since:%Y-%m-%dT%H:%M:%SZ}",
            **({"database": database} if database else {}),
            **({"after": after} if after else {}),
        }
        question = Question(storage.meta.namespace, f"records-{storage.meta.name}", {"records": asked})
        page = (await ask(session, question, PATIENCE)).status.records
        if page is None:
            raise WorldFault(CliReason.NO_ANSWER, "the answer holds no records")
        found += [Found(where, data, keys) for where, data in _unpacked(page.content)]
        skipped, after = skipped + page.skipped, page.next
        if after is None:
            return found, skipped
    message = f"the storage holds more than {MOST_PAGES} pages of records; ask for less with --database or --since"
    raise UserFault(CliReason.BAD_USAGE, message)


async def restore_record(session: Session, storage: SeenStorage, database: str, name: str) -> Found:
    """The record of one restore, to the byte."""
    asked = {"storageRef": {"name": storage.meta.name}, "database": database, "restore": name}
    question = Question(storage.meta.namespace, f"record-{name}", {"records": asked})
    page = (await ask(session, question, PATIENCE)).status.records
    pairs = _unpacked(page.content) if page is not None else []
    if not pairs:
        raise UserFault(CliReason.NO_ANSWER, f"the record of Restore {name} could not be handed over")
    return Found(pairs[0][0], pairs[0][1], keys_of(storage))


def _unpacked(content: str) -> list[tuple[str, bytes]]:
    try:
        return unpack(content)
    except ValueError as error:
        raise WorldFault(CliReason.NO_ANSWER, f"the answer cannot be read: {error}") from error
