"""Every program is owned: its exit code looked at, its last words kept and masked, its whole group ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from databosun.agent.stop import Stopped
from databosun.domain.errors import UserFault, WorldFault
from support.waiting import eventually

from .conftest import Parts


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_exit_code_is_a_failure_with_the_last_words(parts: Parts) -> None:
    parts.redactor.learn(["hunter2hunter2"])
    child = parts.children.spawn(["sh", "-c", "echo the password is hunter2hunter2 >&2; exit 3"])
    with pytest.raises(WorldFault, match=r"ToolFailed: sh exited with 3: the password is \[redacted\]"):
        child.wait()


def test_a_signal_is_named(parts: Parts) -> None:
    child = parts.children.spawn(["sh", "-c", "kill -9 $$"])
    with pytest.raises(WorldFault, match="was killed by signal 9: it said nothing"):
        child.wait()


def test_many_words_are_drained_and_kept_in_part(parts: Parts) -> None:
    child = parts.children.spawn(["sh", "-c", "yes 0123456789 | head -c 3000000 >&2; echo last words >&2; exit 1"])
    with pytest.raises(WorldFault, match="last words"):
        child.wait()
    assert len(child.said) <= 16 * 1024


def test_a_secret_that_the_bound_cuts_through_is_not_told(parts: Parts) -> None:
    secret = "hunter2-" * 40
    parts.redactor.learn([secret])
    # Whatever the bound cuts is in the middle of a secret.
    child = parts.children.spawn(["sh", "-c", f"for i in $(seq 80); do echo {secret} >&2; done; exit 1"])
    with pytest.raises(WorldFault, match=r"\[redacted\]"):
        child.wait()
    assert "hunter2" not in child.said


def test_a_program_that_the_image_lacks_is_named(parts: Parts) -> None:
    with pytest.raises(UserFault, match=r"ToolMissing: this image has no program no-such-tool"):
        parts.children.spawn(["/usr/bin/no-such-tool"])


def test_stopping_ends_a_program_with_all_that_it_started(parts: Parts) -> None:
    child = parts.children.spawn(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    grandchild = int(child.stdout.readline())
    assert alive(grandchild)
    parts.stop.set("Interrupted", "x")
    assert not alive(child.process.pid)
    eventually("the grandchild is gone", lambda: not alive(grandchild))
    with pytest.raises(Stopped):
        parts.children.spawn(["true"])


def test_programs_run_in_groups_of_their_own(parts: Parts) -> None:
    child = parts.children.spawn(["cat"], stdin=subprocess.PIPE)
    assert os.getpgid(child.process.pid) == child.process.pid != os.getpgid(0)
    child.stdin.close()
    child.wait()
