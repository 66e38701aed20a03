"""The commands that show what was proven: what there is to say to them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from databosun.cli.complete import names_of
from databosun.cli.options import AllNamespaces, Context, Kubeconfig, Namespace, ReportForm, Where

if TYPE_CHECKING:
    from databosun.api.report import Report
    from databosun.cli.session import Session


def report(
    databases: Annotated[
        list[str] | None,
        typer.Option(
            "--database",
            metavar="NAME",
            autocompletion=names_of("Database"),
            help="Of this Database only. May be given several times.",
        ),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="SPAN|DATE", help="Where the period begins: 90d, 1y, or 2026-01-01.")
    ] = "1y",
    form: Annotated[
        ReportForm | None,
        typer.Option("--format", help="Form of the report. Default: that of the file's name, else md."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output.")
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence", metavar="FOLDER", help="Report on records copied from a store, without any cluster."
        ),
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", metavar="FILE", help="With --evidence: demand signatures by this key, in PEM."),
    ] = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show an auditor what was proven.

    Per database: the objectives, what drills measured and when, of which backup, with which checks, what failed and
    since when, how much of what is stored was ever restored, and what people noted about it.

    The exit code is 1 where a record is missing or not as it was written; the report is written all the same.
    """
    from databosun.cli import running
    from databosun.cli.report import command
    from databosun.domain.errors import UserFault

    wish = command.Wish(
        tuple(databases or ()),
        since,
        command.Format(form) if form else None,
        file,
        evidence,
        tuple(public_key or ()),
    )

    def finish(made: Report) -> int:
        command.deliver(wish, command.render(made, wish.format))
        typer.echo(command.verdict(made), err=True)
        return running.OK if command.is_sound(made) else running.FAILED

    if evidence is not None:
        try:
            raise typer.Exit(finish(command.offline(wish, evidence, datetime.now(UTC))))
        except UserFault as fault:
            running.complain(fault)
            raise typer.Exit(running.FAILED) from fault

    async def work(session: Session) -> int:
        return finish(await command.online(session, wish))

    running.run(Where(kubeconfig, context, namespace, all_namespaces), work)


def review(
    run: Annotated[
        str,
        typer.Argument(help="Name of the finished RestoreDrillRun.", autocompletion=names_of("RestoreDrillRun")),
    ],
    findings: Annotated[
        str | None, typer.Option("--findings", metavar="TEXT", help="What was learnt; replaces what was noted before.")
    ] = None,
    runbooks: Annotated[
        str | None, typer.Option("--runbooks", metavar="TEXT", help="Which runbooks were updated because of it.")
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Note what was learnt from a drill.

    The note stands in annotations of the run, with your name as the API server knows it, and in reports. Verdict and
    evidence stay as they are.
    """
    from databosun.cli import running
    from databosun.cli.report import noting

    async def work(session: Session) -> int:
        return await noting.note(session, run, findings, runbooks)

    running.run(Where(kubeconfig, context, namespace), work)
