"""A webhook is told how a restore ended; that it cannot be told is a note, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from databosun.agent.children import Children
from databosun.agent.context import Context
from databosun.agent.log import Log
from databosun.agent.notify import notify
from databosun.agent.progress import Progress
from databosun.agent.redact import Redactor
from databosun.agent.secrets import Secrets
from databosun.agent.stop import Stop
from databosun.api.drill import RecoveryPoint
from databosun.api.restoretasks import BackupRef, RestoreTask
from databosun.api.result import Outcome, RestoreResult, Result
from databosun.api.targets import SecretUse
from databosun.domain.errors import UserFault
from support.agentrun import NAMESPACE, PASSWORD, Workplace
from support.clock import FakeClock
from support.fakeengine import FakeEngine
from support.httpserver import Answer, Asked, serving

URL_SECRET = "hooks"
DONE = RestoreResult(
    id="restore-1", claim="new", backup="b1", chosen="the newest", data_directory="data", until=RecoveryPoint(),
    engine_version="18.1", bytes=1, record="file:///r", record_sha256="a" * 64,
)  # fmt: skip
SUCCEEDED = Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", restore=DONE)


@dataclass
class Pod:
    """An agent's pod with what it tells."""

    place: Workplace

    def context(self, url: str | None) -> Context:
        folder = self.place.paths.secrets / "notify"
        folder.mkdir(parents=True, exist_ok=True)
        if url is not None:
            (folder / "url").write_text(f"{url}\n")
        task = RestoreTask(id="restore-1", candidates=[BackupRef(id="b1", database="orders", manifest_sha256="a")])
        request = self.place.request(task)
        use = SecretUse(use="notify", secret=URL_SECRET, keys={"url": "url"})
        redactor = Redactor()
        secrets = Secrets(self.place.paths.secrets, [use], NAMESPACE)
        redactor.learn([*secrets.values(), PASSWORD])
        log = Log((self.place.root / "log").open("w"), redactor)
        stop = Stop()
        return Context(
            request=request, paths=self.place.paths, secrets=secrets, log=log, stop=stop,
            children=Children(stop, redactor), progress=Progress(log), clock=FakeClock().now,
            load_engine=lambda _: FakeEngine(),
        )  # fmt: skip


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(Workplace(tmp_path))


def test_the_outcome_is_told_once(pod: Pod) -> None:
    with serving(lambda _: Answer(204, b"")) as server:
        assert notify(pod.context(f"{server.url}/hook?token=abc"), SUCCEEDED) == SUCCEEDED
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/hook?token=abc")
    told = json.loads(asked.body)
    assert (told["name"], told["namespace"], told["outcome"], told["backup"]) == (
        "restore-1",
        NAMESPACE,
        "Succeeded",
        "b1",
    )


def test_a_failure_is_told_and_no_secret_with_it(pod: Pod) -> None:
    failed = Result(outcome=Outcome.FAILED, reason="Broken", message=f"login with {PASSWORD} failed" + "x" * 100_000)
    with serving(lambda _: Answer()) as server:
        notify(pod.context(server.url), failed)
    (asked,) = server.asked
    assert PASSWORD.encode() not in asked.body
    assert len(asked.body) < 16 * 1024
    assert json.loads(asked.body)["outcome"] == "Failed"


def test_an_answer_that_points_elsewhere_is_not_followed(pod: Pod) -> None:
    with serving(lambda _: Answer()) as other:

        def away(_: Asked) -> Answer:
            return Answer(302, b"", {"Location": other.url})

        with serving(away) as server:
            found = notify(pod.context(server.url), SUCCEEDED)
    assert other.asked == []
    assert found.outcome is Outcome.SUCCEEDED
    assert found.restore
    assert found.restore.notes == ["nobody was told: the webhook of spec.notify answered 302"]


@pytest.mark.parametrize(
    "url", [None, "", "file:///etc/passwd", "ftp://host/x", "no url at all", "http://127.0.0.1:1/hook"]
)
def test_that_nobody_can_be_told_is_noted_and_the_url_is_not(pod: Pod, url: str | None) -> None:
    found = notify(pod.context(url), SUCCEEDED)
    assert found.outcome is Outcome.SUCCEEDED
    assert found.restore
    (note,) = found.restore.notes
    assert note.startswith("nobody was told: ")
    assert not url or url not in note


def test_a_proxy_of_the_environment_is_not_asked(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: Answer()) as proxy, serving(lambda _: Answer()) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        notify(pod.context(server.url), SUCCEEDED)
        assert (len(server.asked), proxy.asked) == (1, [])


def test_a_missing_webhook_stops_no_restore(pod: Pod) -> None:
    pod.context(None).secrets.demand()
    other = SecretUse(use="database", secret="login", keys={"password": "password"})
    with pytest.raises(UserFault):
        Secrets(pod.place.paths.secrets / "none", [other], NAMESPACE).demand()
