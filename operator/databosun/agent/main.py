"""The agent's life: read the request, do its task in a thread of its own, report, exit.

The main thread only waits: for the task, for a signal, for the deadline. So it can always speak the last word within
the pod's grace period, whatever the task hangs in.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn, TextIO

from pydantic import ValidationError

from databosun.agent.children import Children, kill_descendants
from databosun.agent.context import Context, Paths
from databosun.agent.execute import execute, stopped
from databosun.agent.log import Log
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.redact import Redactor
from databosun.agent.report import report
from databosun.agent.secrets import Secrets
from databosun.agent.stop import Stop
from databosun.api.request import MAX_REQUEST_BYTES, SCHEMA, Request
from databosun.api.result import Outcome, Result
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.engines import registry
from databosun.engines.base import Engine

GRACE_SECONDS = 15.0  # half of a pod's default grace period: time to abort uploads, and time left to report
COLLECT_AFTER = (
    50_000  # objects: rows are tuples by the hundred thousand, and to look for cycles among them took a third
)
LOOK_SECONDS = 30.0  # wall clocks jump; the deadline is compared anew at least this often


def main() -> None:
    """`databosun agent`: exits with 0 where the outcome is Succeeded and its message was written, else with 1."""
    collect_seldom()
    leave(run(Paths(), sys.stdout))


def collect_seldom() -> None:
    """Look for cycles of objects once there are many new ones, and never among what was imported."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def leave(code: int) -> NoReturn:
    """End the process with whatever it started; a task that hangs in a system call must not keep the pod alive."""
    sys.stdout.flush()
    kill_descendants()
    os._exit(code)


def run(
    paths: Paths,
    out: TextIO,
    *,
    load_engine: Callable[[EngineName], Engine] = registry.load,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    grace: float = GRACE_SECONDS,
) -> int:
    """Serve one request; returns the exit code."""
    redactor = Redactor()
    log = Log(out, redactor)
    try:
        request = read_request(paths)
    except UserFault as error:
        log.error("failed", reason=error.reason, message=error.message)
        refused = Result(outcome=Outcome.REFUSED, reason=error.reason, message=error.message)
        report(refused, log, paths.termination)
        return 1
    stop = Stop()
    namespace = (request.storage or request.database or _NOWHERE).namespace
    ctx = Context(
        request=request,
        paths=paths,
        secrets=Secrets(paths.secrets, request.secrets, namespace),
        log=log,
        stop=stop,
        children=Children(stop, redactor),
        progress=Progress(log),
        clock=clock,
        load_engine=load_engine,
    )
    redactor.publish(request.model_dump_json(by_alias=True), *_WORDS)
    redactor.learn(ctx.secrets.values())
    redactor.learn_words(ctx.secrets.words())
    log.info("started", task=request.job.task, run=request.run, attempt=request.attempt, deadline=str(request.deadline))
    result = _supervise(ctx, grace)
    summary = report(result, log, paths.termination)
    return 0 if summary.outcome is Outcome.SUCCEEDED else 1


def read_request(paths: Paths) -> Request:
    """The request. UserFault(BadRequest) says which field of it this agent does not understand."""
    try:
        data = paths.request.read_bytes()
    except OSError as error:
        message = f"no request at {paths.request}: {error.strerror}; an agent runs only in a Job that the operator made"
        raise UserFault(AgentReason.BAD_REQUEST, message) from error
    if len(data) > MAX_REQUEST_BYTES:
        message = f"the request has {len(data)} bytes; at most {MAX_REQUEST_BYTES} are allowed"
        raise UserFault(AgentReason.BAD_REQUEST, message)
    try:
        return Request.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        advice = "operator and runner image must be of one release"
        message = f"this agent speaks schema {SCHEMA} and does not understand {field}: {first['msg']}; {advice}"
        raise UserFault(AgentReason.BAD_REQUEST, message) from error


def _supervise(ctx: Context, grace: float) -> Result:
    """Run the task in a thread; stop it at a signal or at the deadline, and give it `grace` seconds to unwind."""
    woken, done = threading.Event(), threading.Event()
    results: list[Result] = []

    def work() -> None:
        results.append(execute(ctx))
        done.set()
        woken.set()

    thread = threading.Thread(target=work, name="task", daemon=True)
    ctx.stop.subscribe(lambda _: woken.set())
    with _signals(ctx.stop):
        thread.start()
        while not woken.is_set():
            left = (ctx.request.deadline - ctx.clock()).total_seconds()
            if left <= 0:
                message = f"the deadline {ctx.request.deadline.isoformat()} passed before the task was done"
                ctx.stop.set(AgentReason.DEADLINE_EXCEEDED, message)
            else:
                woken.wait(min(left, LOOK_SECONDS))
        done.wait(grace)
    if results:
        return results[0]
    ctx.log.warning("abandoned", message=f"the task did not unwind within {grace} seconds")
    return stopped(ctx)


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT stop the task. Only the main thread may listen to signals; elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(number: int, _: FrameType | None) -> None:
        # A handler runs between two steps of the main thread, which may hold a lock that `set` wants: hence a thread.
        message = (
            f"the agent was told to stop by {signal.Signals(number).name}: the pod was deleted, evicted or drained"
        )
        threading.Thread(target=stop.set, args=(AgentReason.INTERRUPTED, message), daemon=True).start()

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Nowhere:
    namespace = ""


_NOWHERE = _Nowhere()
_WORDS = (*Outcome, *BackupType, *Method, *AgentReason)
