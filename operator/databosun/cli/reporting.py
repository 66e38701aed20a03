"""The commands that show what was proven: what there is to say to them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from databosun.cli.complete import names_of
from databosun.cli.options import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputFormat,
    ReportForm,
    Timeout,
    Where,
)

if TYPE_CHECKING:
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
    restore: Annotated[
        str | None,
        typer.Option(
            "--restore",
            metavar="NAME",
            autocompletion=names_of("Restore"),
            help="Look back at this Restore: timeline, choice, point, checks, hand-over.",
        ),
    ] = None,
    records: Annotated[
        bool,
        typer.Option(
            help="Read the records in the stores, through the operator, and check each. Without: status only."
        ),
    ] = True,
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

    chosen = command.Format(form) if form else None
    keys = tuple(public_key or ())
    wish = command.Wish(tuple(databases or ()), since, chosen, file, evidence, keys, restore, records)
    if evidence is not None:
        raise typer.Exit(running.guarded(lambda: command.from_files(wish, evidence, datetime.now(UTC))))

    async def work(session: Session) -> int:
        return await command.from_cluster(session, wish)

    running.run(Where(kubeconfig, context, namespace, all_namespaces), work)


def assess(
    database: Annotated[str, typer.Argument(help="Name of the Database.", autocompletion=names_of("Database"))],
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="TIME", help="Leave out what happened then and later; with its zone."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Compare the database with a private copy of it at that point: tables and rows."
        ),
    ] = False,
    within: Annotated[
        str | None, typer.Option("--in", metavar="NAME", help="With --compare: this database of the server only.")
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="SCHEMA.TABLE", help="With --compare and --in: this table only; several times."
        ),
    ] = None,
    timeout: Timeout = None,
    namespace: Namespace = None,
    output: OutputFormat = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say what of a database could be brought back.

    From when to when, from which backup, what would be lost and how long it would take; and the command and the Restore
    that do it. Nothing but the cluster's records is read, unless --compare is given: then a Job restores a copy into
    its own pod and reads the database beside it, to name lost tables and to count rows that differ. Nothing is
    written to either.

    The exit code is 1 where nothing can be restored.
    """
    from databosun.cli import assess, running

    wish = assess.Wish(database, before, compare, within, tuple(tables or ()), timeout)

    async def work(session: Session) -> int:
        return await assess.show(session, wish, output)

    running.run(Where(kubeconfig, context, namespace), work)


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
