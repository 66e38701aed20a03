"""The commands that move a primary, and that consent to what a person must agree to: what there is to say to them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from databosun.cli.complete import names_of
from databosun.cli.options import Context, Kubeconfig, Namespace, StartWithin, Timeout, Where, span

if TYPE_CHECKING:
    from databosun.cli.session import Session


def failover(
    test: Annotated[str, typer.Argument(help="Name of the FailoverTest.", autocompletion=names_of("FailoverTest"))],
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its verdict.")] = False,
    timeout: Timeout = None,
    start_within: StartWithin = "1h",  # type: ignore[assignment]  # typer parses defaults as it does what people type
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Test a failover now: the primary moves.

    First the nodes are looked at and a plan is made. In environment Production, and where the FailoverTest asks for it,
    nothing is moved until somebody approves that very plan: approve --failover.

    With --wait the exit code is that of the verdict: 0 passed, 1 not, 124 still going on at --timeout; it ends with 0
    where the plan waits for an Approval. Ctrl-C ends the waiting, never the test.
    """
    from databosun.cli import failover

    where = Where(kubeconfig, context, namespace)
    failover.RUN.by_hand(
        where, lambda session: failover.start(session, test, start_within), "test", wait=wait, timeout=timeout
    )


def approve(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the BackupPolicy, Database, FailoverTestRun, LifecyclePolicy or ErasureRequest.",
            autocompletion=names_of("BackupPolicy"),
        ),
    ],
    log: Annotated[
        bool, typer.Option("--log", help="NAME is a Database: approve the deletion of a part of its log.")
    ] = False,
    failover: Annotated[
        bool, typer.Option("--failover", help="NAME is a FailoverTestRun: approve that it moves the primary.")
    ] = False,
    lifecycle: Annotated[
        bool, typer.Option("--lifecycle", help="NAME is a LifecyclePolicy: approve the plan that it shows.")
    ] = False,
    erasure: Annotated[
        bool, typer.Option("--erasure", help="NAME is an ErasureRequest: approve that the person is erased.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    plan: Annotated[
        str | None, typer.Option("--plan", metavar="HASH", help="Approve this plan only; another one is an error.")
    ] = None,
    valid_for: Annotated[
        timedelta,
        typer.Option("--valid-for", metavar="DURATION", parser=span, help="How long the consent holds."),
    ] = "24h",  # type: ignore[assignment]  # typer parses defaults as it does what people type
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Approve deletions, failovers, lifecycles, erasures.

    An Approval names one plan by its hash, and the person who gave it: you, as the API server knows you.
    """
    from databosun.cli import approve, approve_erasure, approve_lifecycle, running
    from databosun.cli import failover as failovers

    if log + failover + lifecycle + erasure > 1:
        message = "--log, --failover, --lifecycle and --erasure exclude each other: NAME is one object"
        raise typer.BadParameter(message)

    async def work(session: Session) -> int:
        ask = (lambda _: True) if yes else (lambda question: typer.confirm(question, err=True))
        consent = approve.approve_log if log else approve.approve
        if failover:
            consent = failovers.approve
        elif lifecycle:
            consent = approve_lifecycle.approve_lifecycle
        elif erasure:
            consent = approve_erasure.approve_erasure
        return await consent(session, name, valid_for, plan, ask)

    running.run(Where(kubeconfig, context, namespace), work)
