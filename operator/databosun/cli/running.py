"""From a command's function to the end of the process. A fault is one line, never a traceback."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import typer

from databosun.cli.options import Where
from databosun.cli.output import Screen
from databosun.cli.session import Session, open_session
from databosun.domain.errors import DatabosunError
from databosun.kube.errors import Forbidden, NoKubeconfig, ResourceAbsent, Unavailable, Unreachable

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
SERVER_SAID: Final = "The API server said: "

Work = Callable[[Session], Awaitable[int]]


def run(where: Where, work: Work, *, interrupted: Callable[[Screen], None] | None = None) -> NoReturn:
    """Run a command to its exit code. `interrupted` says what goes on after Ctrl-C."""
    screen = Screen()
    try:
        code = asyncio.run(_run(open_session(where, screen), work))
    except DatabosunError as error:
        complain(error)
        code = FAILED
    except KeyboardInterrupt:
        if interrupted is not None:
            interrupted(screen)
        code = INTERRUPTED
    except BrokenPipeError:
        # `databosun … | head` is no failure, and Python must not complain at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    raise typer.Exit(code)


def guarded(work: Callable[[], int]) -> int:
    """The exit code of work that needs no cluster."""
    try:
        return work()
    except DatabosunError as error:
        complain(error)
        return FAILED


async def _run(session: Session, work: Work) -> int:
    try:
        return await work(session)
    finally:
        session.close()


def complain(error: DatabosunError) -> None:
    """Write a fault in one line to standard error."""
    sys.stderr.write(f"error: {explain(error)}\n")


def explain(error: DatabosunError) -> str:
    """What went wrong and what to do, for the person at the terminal rather than for the operator's log."""
    message = " ".join(error.message.split())
    if isinstance(error, Forbidden):
        return (
            f"{message.partition(SERVER_SAID)[2] or message}. Ask for a role that grants it: ClusterRole databosun-view"
            " to look, databosun-edit to back up, databosun-approver to approve"
        )
    if isinstance(error, ResourceAbsent):
        return f"{message}. Install the chart databosun-crds, or: databosun crds | kubectl apply --server-side -f -"
    if isinstance(error, NoKubeconfig):
        return f"{message}, or pass --kubeconfig"
    if isinstance(error, Unreachable):
        return f"{message}. Is this the right cluster (--kubeconfig, --context), and is it up?"
    if isinstance(error, Unavailable) and "token" in message:
        return f"{message.replace('the operator', 'your login')}. Log in again"
    return message
