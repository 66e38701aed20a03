"""Before any work: the request, its times, its Secrets. Afterwards: a bug is a verdict too."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from databosun.agent.execute import task_of
from databosun.agent.main import run
from databosun.api.backuptasks import CatalogTask, ProbeTask, ValidateTask
from databosun.api.request import Task
from databosun.api.result import Outcome
from databosun.domain.errors import UserFault, WorldFault
from support.agentrun import PASSWORD, Ran, Workplace, backup_task, read
from support.fakeengine import FakeEngine


def verdict(ran: Ran) -> tuple[int, Outcome, str, bool]:
    summary = ran.summary
    assert ran.result.outcome is summary.outcome
    assert ran.code == (0 if summary.outcome is Outcome.SUCCEEDED else 1)
    return ran.code, summary.outcome, summary.reason, summary.retryable


def run_text(place: Workplace, text: str | None) -> Ran:
    if text is not None:
        place.paths.request.write_text(text)
    out = io.StringIO()
    code = run(place.paths, out, load_engine=lambda _: FakeEngine())
    return read(code, out.getvalue(), place.paths.termination.read_bytes())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no request at"),
        ("", "does not understand the document"),
        ('{"schema": 2, "run": "x"}', "does not understand schema"),
        ('{"schema": 1, "run": "x", "deadline": "2999-01-01T00:00:00Z", "job": {"task": "levitate"}}', "job"),
        ("x" * 300_000, "at most 204800 are allowed"),
    ],
)
def test_a_request_that_is_not_understood_is_refused(place: Workplace, text: str | None, said: str) -> None:
    ran = run_text(place, text)
    assert verdict(ran) == (1, Outcome.REFUSED, "BadRequest", False)
    assert said in ran.summary.message


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"not_before": timedelta(hours=1)}, (1, Outcome.REFUSED, "TooEarly", False)),
        ({"not_after": timedelta(seconds=-1)}, (1, Outcome.REFUSED, "TooLate", False)),
        ({"deadline": timedelta(seconds=-1)}, (1, Outcome.FAILED, "DeadlineExceeded", False)),
        (
            {"not_before": timedelta(hours=-1), "not_after": timedelta(hours=1)},
            (0, Outcome.SUCCEEDED, "Succeeded", False),
        ),
    ],
)
def test_an_order_is_for_its_time(place: Workplace, more: dict[str, timedelta], expected: tuple[Any, ...]) -> None:
    times: dict[str, Any] = {name: datetime.now(UTC) + span for name, span in more.items()}
    assert verdict(place.run(ValidateTask(), **times)) == expected


def test_a_missing_secret_is_refused_by_name_before_anything_is_done(place: Workplace) -> None:
    place.write(place.request(backup_task()))
    (place.paths.secrets / "database" / "password").unlink()
    ran = run_text(place, None)
    assert verdict(ran) == (1, Outcome.REFUSED, "SecretMissing", False)
    assert "Secret shop/secret-database has no key password" in ran.summary.message
    assert list((place.root / "volume").iterdir()) == []


def test_a_request_without_what_its_task_needs_is_refused(place: Workplace) -> None:
    ran = place.run(CatalogTask(), storage=None)
    assert verdict(ran) == (1, Outcome.REFUSED, "BadRequest", False)
    assert "names no storage" in ran.summary.message


def breaking(error: BaseException) -> FakeEngine:
    def trap(_name: str, done: int) -> None:
        if done:
            raise error

    return FakeEngine(trap=trap)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserFault("WrongPassword", "the password is wrong"), (1, Outcome.FAILED, "WrongPassword", False)),
        (WorldFault("Unreachable", "gone"), (1, Outcome.FAILED, "Unreachable", True)),
        (OSError(28, "No space left on device", "/scratch/dump"), (1, Outcome.FAILED, "ScratchFull", False)),
        (ZeroDivisionError("a bug"), (1, Outcome.FAILED, "InternalError", True)),
        (MemoryError(), (1, Outcome.FAILED, "InternalError", True)),
    ],
)
def test_whatever_ends_a_backup_becomes_its_verdict(
    place: Workplace, error: BaseException, expected: tuple[Any, ...]
) -> None:
    ran = place.run(backup_task(), engine=breaking(error))
    assert verdict(ran) == expected
    assert not list((place.root / "volume").rglob("manifest.json"))


def test_a_bug_leaves_its_traceback_in_the_log(place: Workplace) -> None:
    ran = place.run(backup_task(), engine=breaking(ZeroDivisionError(f"with {PASSWORD} in hand")))
    (bug,) = [line for line in ran.lines if line["event"] == "bug"]
    assert "Traceback" in bug["traceback"]
    assert "in trap" in bug["traceback"]
    assert PASSWORD not in ran.output
    assert "[redacted]" in bug["error"]


def test_a_full_scratch_is_the_verdict_and_names_the_setting(place: Workplace) -> None:
    """On a real device that is full, for want of which an engine cannot go on."""

    def trap(_name: str, _done: int) -> None:
        (place.paths.scratch / "dump").symlink_to("/dev/full")
        (place.paths.scratch / "dump").write_bytes(b"x" * 100_000)

    ran = place.run(backup_task(), engine=FakeEngine(trap=trap))
    assert verdict(ran) == (1, Outcome.FAILED, "ScratchFull", False)
    assert "podTemplate.scratch.size" in ran.summary.message
    assert str(place.paths.scratch) in ran.summary.message
    assert not list((place.root / "volume").rglob("manifest.json"))


def test_at_the_deadline_the_agent_stops_by_itself(place: Workplace) -> None:
    stuck = threading.Event()

    def trap(_name: str, done: int) -> None:
        if done:
            stuck.wait(60)

    ran = place.run(
        backup_task(), engine=FakeEngine(trap=trap), deadline=datetime.now(UTC) + timedelta(seconds=1), grace=0.2
    )
    stuck.set()
    assert verdict(ran) == (1, Outcome.FAILED, "DeadlineExceeded", False)
    assert any(line["event"] == "abandoned" for line in ran.lines)


def test_the_termination_message_is_the_last_thing_written(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes
    out = io.StringIO()
    place.write(place.request(ValidateTask()))

    def watched(path: Path, data: bytes) -> int:
        assert '"event":"result"' in out.getvalue()
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", watched)
    assert run(place.paths, out) == 0
    assert place.paths.termination.is_file()


def test_a_probe_reports_what_the_engine_found(place: Workplace) -> None:
    ran = place.run(ProbeTask(), engine=FakeEngine(reachable=False))
    assert verdict(ran) == (0, Outcome.SUCCEEDED, "Succeeded", False)
    assert ran.result.probe
    assert ran.result.probe.reachable is False


def test_every_task_of_a_request_is_done_by_a_module() -> None:
    tasks = [one.model_fields["task"].default for one in get_args(get_args(Task)[0])]
    assert len(tasks) > 10
    for task in tasks:
        assert callable(task_of(task)), task
