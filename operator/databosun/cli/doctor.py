"""`databosun doctor`: is everything there that backups need? One line for each check, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rich.text import Text

from databosun.cli.options import Output
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session

COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `todo` is what a person does about it; empty where nothing is to be done."""

    level: Level
    area: str
    subject: str
    message: str
    todo: str = ""

    def document(self) -> dict[str, Any]:
        """For programs."""
        fields = {
            "level": str(self.level),
            "area": self.area,
            "subject": self.subject,
            "message": self.message,
            "todo": self.todo,
        }
        return {name: value for name, value in fields.items() if value}


def ok(area: str, subject: str, message: str) -> Check:
    """All is well."""
    return Check(Level.OK, area, subject, message)


def warn(area: str, subject: str, message: str, todo: str = "") -> Check:
    """Works, or could not be seen; a person should know."""
    return Check(Level.WARN, area, subject, message, todo)


def fail(area: str, subject: str, message: str, todo: str = "") -> Check:
    """Does not work."""
    return Check(Level.FAIL, area, subject, message, todo)


async def examine(session: Session, output: Output) -> int:
    """Look at everything; the exit code is 1 where anything fails."""
    from databosun.cli.doctor_cluster import check_cluster
    from databosun.cli.doctor_objects import check_objects
    from databosun.cli.doctor_operator import check_operator

    checks = [*await check_cluster(session)]
    checks += await check_operator(session)
    checks += await check_objects(session)
    if output in (Output.JSON, Output.YAML):
        session.screen.document(output, {"checks": [one.document() for one in checks]})
    else:
        render(session, checks)
    return FAILED if any(one.level is Level.FAIL for one in checks) else OK


def render(session: Session, checks: Sequence[Check]) -> None:
    """The lines, by area, and their sum."""
    area = ""
    for one in checks:
        if one.area != area:
            area = one.area
            session.screen.say(Text(area, style="bold"))
        line = Text("  ")
        line.append(f"{one.level:<4}", style=COLOURS[one.level])
        line.append(f"  {one.subject}: {one.message}")
        session.screen.say(line)
        if one.todo:
            session.screen.say(Text(f"        {one.todo}", style="cyan"))
    counts = {level: sum(1 for one in checks if one.level is level) for level in Level}
    session.screen.say(Text(f"{counts[Level.OK]} ok, {counts[Level.WARN]} to know, {counts[Level.FAIL]} to mend"))
