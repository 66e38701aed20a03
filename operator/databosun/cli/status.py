"""`databosun status`: one screen that says whether every database could be recovered now, and what needs a human."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from databosun.api.quantities import humanize_bytes
from databosun.cli.findings import Finding
from databosun.cli.options import Output
from databosun.cli.output import table
from databosun.cli.overview import DatabaseLine, Overview, RunLine, document, gather
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import NONE, ago, ahead, short
from databosun.domain.errors import UserFault, WorldFault

REFRESH_SECONDS: Final = 2.0
COLOURS: Final = {
    "good": "green",
    "close": "yellow",
    "bad": "bold red",
    "unknown": "",
    "True": "green",
    "False": "bold red",
}


async def show(session: Session, output: Output, *, watch: bool, exit_code: bool) -> int:
    """Print the screen once, or keep it up to date. The exit code tells of findings only where that is asked for."""
    if watch:
        if output in (Output.JSON, Output.YAML):
            message = f"--watch shows a screen; expected --output table or wide, found {output}"
            raise UserFault(CliReason.BAD_USAGE, message)
        await _keep_showing(session, wide=output is Output.WIDE)
    overview = await gather(session)
    if output in (Output.JSON, Output.YAML):
        session.screen.document(output, document(overview))
    else:
        session.screen.say(render(overview, wide=output is Output.WIDE, namespaces=session.scope is None))
    return FAILED if exit_code and overview.findings else OK


async def _keep_showing(session: Session, *, wide: bool) -> None:
    """Until Ctrl-C. An API server that is away for a moment leaves the last screen standing, and says so."""
    namespaces = session.scope is None
    shown: RenderableType = Text("reading …")
    with Live(shown, console=session.screen.out, auto_refresh=False) as live:
        while True:
            try:
                shown = render(await gather(session), wide=wide, namespaces=namespaces)
                live.update(shown, refresh=True)
            except WorldFault as fault:
                live.update(Group(shown, Text(f"out of date: {fault.message}", style="yellow")), refresh=True)
            await session.clock.sleep(REFRESH_SECONDS)


def render(overview: Overview, *, wide: bool, namespaces: bool) -> RenderableType:
    """The screen: databases, runs under way, and what needs a human."""
    if not overview.databases and not overview.findings:
        where = "in any namespace" if namespaces else "in this namespace (-A looks in all)"
        return Text(f"No Databases {where}. Apply one to have it protected.")
    parts: list[RenderableType] = [_databases(overview, wide=wide, namespaces=namespaces)]
    if overview.runs:
        parts += ["", Text("RUNNING", style="bold"), *(_run(one, overview) for one in overview.runs)]
    parts += ["", *_findings(overview.findings)]
    return Group(*parts)


def _databases(overview: Overview, *, wide: bool, namespaces: bool) -> RenderableType:
    header = ["DATABASE", "TIER", "PROTECTED", "RPO", "PROVEN", "RTO", "LAST BACKUP", "SIZE", "NEXT RUN", "POLICIES"]
    if wide:
        header += ["ENGINE", "READY", "BACKUP"]
    rows = [_row(one, overview, wide=wide) for one in overview.databases]
    if namespaces:
        header = ["NAMESPACE", *header]
        rows = [[one.namespace, *row] for one, row in zip(overview.databases, rows, strict=True)]
    return table(header, rows)


def _row(line: DatabaseLine, overview: Overview, *, wide: bool) -> list[str | Text]:
    objective = line.rpo_objective or "?"
    rpo = f"{short(line.rpo)} of {objective}" if line.rpo is not None else f"none of {objective}"
    row: list[str | Text] = [
        line.name,
        str(line.tier),
        Text(line.protected, style=COLOURS.get(line.protected, "")),
        Text(rpo, style=COLOURS[line.health]),
        _proven(line, overview),
        _rto(line),
        f"{ago(line.last_backup_at, overview.at)} ago" if line.last_backup_at else NONE,
        humanize_bytes(line.last_backup_bytes) if line.last_backup_bytes is not None else NONE,
        ahead(line.next_run, overview.at),
        ", ".join(line.policies) or NONE,
    ]
    if wide:
        engine = f"{line.engine} {line.version}" if line.version else line.engine
        row += [engine, line.ready, line.last_backup or NONE]
    return row


def _proven(line: DatabaseLine, overview: Overview) -> Text:
    """When a drill last restored a backup; in red where that counts no more."""
    if line.proven_at is None:
        return Text("never", style=COLOURS["bad"] if line.proven == "False" else "")
    return Text(f"{ago(line.proven_at, overview.at)} ago", style=COLOURS.get(line.proven, ""))


def _rto(line: DatabaseLine) -> Text:
    """What the last drill measured, beside the objective."""
    objective = line.rto_objective or "?"
    if line.rto is None:
        return Text(f"? of {objective}")
    return Text(f"{line.rto} of {objective}", style=COLOURS.get(line.rto_met, ""))


def _run(line: RunLine, overview: Overview) -> Text:
    parts = [f"{line.namespace}/{line.name}", line.phase, f"since {ago(line.since, overview.at)}"]
    progress = line.progress
    if progress is not None:
        percent = f"{progress.percent}%" if progress.percent is not None else ""
        parts += [part for part in (progress.stage, humanize_bytes(progress.bytes), percent) if part]
    elif line.message:
        parts.append(line.message)
    return Text("  " + "  ".join(parts))


def _findings(found: Sequence[Finding]) -> Iterable[RenderableType]:
    if not found:
        yield Text("Nothing needs a human.", style="green")
        return
    yield Text(f"NEEDS A HUMAN ({len(found)})", style="bold red")
    for one in found:
        line = Text("  ")
        line.append(f"{one.kind} {one.namespace}/{one.name}", style="bold")
        line.append(f"  {one.reason}: {one.message or 'no message'}")
        yield line
        if one.what_to_do:
            yield Text(f"    {one.what_to_do}", style="cyan")
