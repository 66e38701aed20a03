"""The commands that read backups back: what there is to say to them."""

from __future__ import annotations

from typing import Annotated

import typer

from databosun.cli.complete import names_of
from databosun.cli.options import Context, Depth, Kubeconfig, Namespace, Speed, StartWithin, Timeout, Where

HowDeep = Annotated[
    Depth | None, typer.Option("--level", help="How deep to look; each level includes those before it.")
]
BackupName = Annotated[
    str | None,
    typer.Option(
        "--backup", metavar="NAME", autocompletion=names_of("Backup"), help="This very Backup. Default: the newest."
    ),
]


def drill(
    database: Annotated[
        str | None,
        typer.Argument(
            help="Name of the Database. Left out: all that the RestoreDrill of --drill covers, in its order.",
            autocompletion=names_of("Database"),
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--drill",
            metavar="NAME",
            autocompletion=names_of("RestoreDrill"),
            help="RestoreDrill whose level, checks and objectives are taken. Default: none.",
        ),
    ] = None,
    backup: BackupName = None,
    level: HowDeep = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    timeout: Timeout = None,
    start_within: StartWithin = "1h",  # type: ignore[assignment]  # typer parses defaults as it does what people type
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Prove a backup now.

    It is restored into a pod of its own, checked and measured. Without DATABASE, and with --drill, all databases of
    that RestoreDrill are, as after a disaster: one group after the other, with one verdict.

    With --wait the exit code is that of the verdict: 0 proven, 1 not, 124 still going on at --timeout.
    Ctrl-C ends the waiting, never the drill. Production is not touched.
    """
    from databosun.cli import drill

    wish = drill.Wish(database, name, backup, str(level) if level else None, start_within)
    where = Where(kubeconfig, context, namespace)
    drill.RUN.by_hand(where, lambda session: drill.start(session, wish), "drill", wait=wait, timeout=timeout)


def restore(
    database: Annotated[
        str | None,
        typer.Argument(help="Name of the Database, also of one that is gone.", autocompletion=names_of("Database")),
    ] = None,
    volume: Annotated[
        str | None,
        typer.Option("--to-volume", metavar="CLAIM", help="PersistentVolumeClaim to restore into; an empty one."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--to-database",
            metavar="NAME",
            autocompletion=names_of("Database"),
            help="Into the running server of this Database.",
        ),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Into the running server that it is of.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="DATABASE", help="Only this database of the server; repeatable."),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="SCHEMA.TABLE", help="Only this table of the database in --only; repeatable."),
    ] = None,
    stage_first: Annotated[
        bool, typer.Option("--stage-first", help="Restore beside what is there, check, and wait for consent.")
    ] = False,
    credentials: Annotated[
        str | None,
        typer.Option("--credentials", metavar="SECRET", help="Secret to log in to the running server with."),
    ] = None,
    promote: Annotated[
        str | None,
        typer.Option(
            "--promote", metavar="RESTORE", autocompletion=names_of("Restore"), help="Consent to what it has staged."
        ),
    ] = None,
    backup: BackupName = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="TIME", help="To this instant, with its zone. Needs shipped logs.")
    ] = None,
    lsn: Annotated[str | None, typer.Option("--lsn", metavar="LSN", help="To this log sequence number.")] = None,
    restore_point: Annotated[
        str | None, typer.Option("--restore-point", metavar="NAME", help="To this named restore point.")
    ] = None,
    gtid: Annotated[
        str | None,
        typer.Option(
            "--gtid", metavar="GTID", help="MariaDB: up to this transaction, with it; MySQL: up to all of a set."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put aside what is there under another name; it is not deleted.")
    ] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Rebuild indexes where texts sort otherwise here.")
    ] = False,
    level: HowDeep = None,
    thaw: Annotated[
        Speed | None,
        typer.Option("--thaw", help="Have what lies in an archive class thawed first: hours, and money."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --replace or --promote: do not ask.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    timeout: Timeout = None,
    start_within: StartWithin = "1h",  # type: ignore[assignment]  # typer parses defaults as it does what people type
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Restore into a volume, or into a running server.

    What lies in a volume afterwards is a recovered, cleanly stopped data directory, to be handed to a server. In a
    running server, whole databases (or single tables) are restored beside what is there, checked, and put in place at
    once; what was there stays under another name.

    The newest backup that reaches back to the wanted point and whose data verify is taken. With --wait it prints what
    to do next, and the exit code is that of the verdict: 0 succeeded, 1 not, 124 still going on at --timeout.
    """
    from databosun.cli import restore, running

    if promote is not None:
        name = promote

        def ask(question: str) -> bool:
            return yes or typer.confirm(question, err=True)

        running.run(Where(kubeconfig, context, namespace), lambda session: restore.promote(session, name, ask))
        return
    if database is None:
        raise typer.BadParameter("say which Database, or --promote RESTORE", param_hint="DATABASE")  # noqa: EM101
    into = database if in_place else target
    if replace and not yes:
        place = f"volume {volume}" if volume else f"the server of {into}"
        typer.confirm(f"Put aside what is there in {place}, and restore {database} there?", abort=True, err=True)
    wish = restore.Wish(
        database,
        volume,
        into,
        tuple(only or ()),
        tuple(tables or ()),
        stage_first,
        credentials,
        backup,
        time,
        lsn,
        restore_point,
        gtid,
        replace,
        reindex,
        str(level) if level else None,
        str(thaw) if thaw else None,
        start_within,
    )
    where = Where(kubeconfig, context, namespace)
    restore.RUN.by_hand(where, lambda session: restore.start(session, wish), "restore", wait=wait, timeout=timeout)
