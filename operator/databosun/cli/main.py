"""The command line: what there is to say to it. What a command does is imported when it is called, to be quick."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from databosun import __version__
from databosun.cli.approving import approve, failover
from databosun.cli.complete import names_of
from databosun.cli.options import (
    AllNamespaces,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    OutputFormat,
    StartWithin,
    Timeout,
    Type,
    Where,
)
from databosun.cli.reporting import assess, report, review
from databosun.cli.restoring import drill, restore

if TYPE_CHECKING:
    from databosun.cli.output import Screen
    from databosun.cli.session import Session

HELP = """Keeps every database recoverable, and proves it.

Works as a plugin of kubectl, too: kubectl bosun COMMAND."""

app = typer.Typer(
    name="databosun",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog_app = typer.Typer(help="List backups, or rebuild their records.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(catalog_app, name="catalog")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def status(
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the screen up to date until Ctrl-C.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where something needs a human.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Show whether each database could be recovered now.

    And what needs a human: what is wrong, and what to do about it.

    RPO is the age of the newest instant that could be restored, beside its objective: what a disaster right now would
    cost.
    """
    from databosun.cli import running, status

    async def work(session: Session) -> int:
        return await status.show(session, output, watch=watch, exit_code=exit_code)

    running.run(Where(kubeconfig, context, namespace, all_namespaces), work)


@app.command()
def backup(
    database: Annotated[str, typer.Argument(help="Name of the Database.", autocompletion=names_of("Database"))],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME",
            autocompletion=names_of("BackupPolicy"),
            help="BackupPolicy that says where to and how. Default: the only one that covers the Database.",
        ),
    ] = None,
    type: Annotated[Type, typer.Option("--type", "-t", help="What to take.")] = Type.FULL,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    timeout: Timeout = None,
    start_within: StartWithin = "1h",  # type: ignore[assignment]  # typer parses defaults as it does what people type
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Take a backup now.

    With --wait the exit code is that of the verdict: 0 succeeded, 1 failed, 124 still going on at --timeout.
    Ctrl-C ends the waiting, never the backup.
    """
    from databosun.api.v1alpha1.backuppolicy import BackupType
    from databosun.cli import backup

    wish = backup.Wish(database, policy, BackupType(type), start_within)
    where = Where(kubeconfig, context, namespace)
    backup.RUN.by_hand(where, lambda session: backup.start(session, wish), "backup", wait=wait, timeout=timeout)


app.command()(drill)
app.command()(restore)
app.command()(failover)
app.command()(assess)
app.command()(report)
app.command()(review)
app.command()(approve)


@app.command()
def doctor(
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Check all that backups need.

    Cluster, CRDs, admission policies, operator, its Lease and rights, storages, databases, policies: one line each, and
    what to do. The exit code is 1 where anything fails.
    """
    from databosun.cli import doctor, running

    async def work(session: Session) -> int:
        return await doctor.examine(session, output)

    running.run(Where(kubeconfig, context, namespace, all_namespaces), work)


@catalog_app.command("list")
def catalog_list(
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="NAME", autocompletion=names_of("Database"), help="Of this Database only."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", metavar="NAME", autocompletion=names_of("BackupStorage"), help="In this BackupStorage only."
        ),
    ] = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
    output: OutputFormat = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List the backups, newest first."""
    from databosun.cli import catalog, running

    async def work(session: Session) -> int:
        return await catalog.show(session, output, database, storage)

    running.run(Where(kubeconfig, context, namespace, all_namespaces), work)


@catalog_app.command("rebuild")
def catalog_rebuild(
    storage: Annotated[
        str,
        typer.Option(
            "--storage",
            metavar="NAME",
            autocompletion=names_of("BackupStorage"),
            help="The BackupStorage to read.",
        ),
    ],
    wait: Annotated[bool, typer.Option(help="Follow it to its end.")] = True,
    timeout: Timeout = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Create the Backup objects that a storage has backups for and the cluster has not.

    The operator reads the storage and creates what is missing; nothing that is there is written over, and nothing is
    started. Records whose manifest no signature vouches for are marked Unverified.
    """
    from databosun.cli import catalog, running

    async def work(session: Session) -> int:
        return await catalog.rebuild(session, storage, wait=wait, limit=timeout)

    def interrupted(screen: Screen) -> None:
        screen.note("the rebuild goes on; see status.catalog of the BackupStorage")

    running.run(Where(kubeconfig, context, namespace), work, interrupted=interrupted)


@app.command()
def crds() -> None:
    """Print the CustomResourceDefinitions.

    Install them with: databosun crds | kubectl apply --server-side -f -
    """
    from databosun.api.v1alpha1.crd import crds_yaml

    sys.stdout.write("---\n".join(crds_yaml().values()))


@app.command("uninstall-cleanup")
def uninstall_cleanup(kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Let go of what would hang without the operator.

    Stops the operator and takes its finalizers off pods and Backups.

    The chart runs this before it is uninstalled; DATABOSUN_* variables say what is served. Data are not touched.
    """
    from databosun.cli import running, uninstall
    from databosun.domain.errors import UserFault
    from databosun.runtime.settings import load_settings

    try:
        settings = load_settings(os.environ)
    except UserFault as fault:
        running.complain(fault)
        raise typer.Exit(running.FAILED) from fault

    async def work(session: Session) -> int:
        return await uninstall.clean_up(session, settings, os.environ)

    running.run(Where(kubeconfig, context, None), work)


@app.command()
def operator() -> None:
    """Run the operator (the chart does this)."""
    _become("operator")


@app.command()
def agent() -> None:
    """Run the agent of one Job (the operator does this)."""
    _become("agent")


def _become(part: str) -> NoReturn:
    """Start anew as another part of the program, which needs nothing of what is loaded here."""
    os.execv(sys.executable, [sys.executable, "-m", "databosun", part])  # noqa: S606 (no shell, our own program)


def main() -> None:
    """Read the command line and do what it says."""
    app()
