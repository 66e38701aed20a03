"""The transport against a server that answers badly, late or never; and where it finds the API server."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import kubernetes.config.incluster_config as incluster
import pytest
import yaml
from kubernetes.client import Configuration

from databosun.kube import errors
from databosun.kube.answers import Call
from databosun.kube.resources import JOBS
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from support.httpserver import Answer, Asked, Server, serving

CALL = Call("get", JOBS, "shop", "j")
QUICK = TransportSettings(threads=2, connect_timeout=5, read_timeout=0.2, total_timeout=20)


class Rig:
    """Transports that talk to servers of the test, all closed in the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.outcomes: list[tuple[str, str]] = []

    def server(self, answer: Callable[[Asked], Answer]) -> Server:
        return self._stack.enter_context(serving(answer))

    def transport(self, url: str, settings: TransportSettings = QUICK) -> Transport:
        configuration = Configuration(host=url)
        configuration.retries = False
        transport = Transport(configuration, settings, self._observe)
        self._stack.callback(transport.close)
        return transport

    def _observe(self, call: Call, outcome: str, _seconds: float) -> None:
        self.outcomes.append((call.verb, outcome))

    def release_at_end(self, event: threading.Event) -> None:
        self._stack.callback(event.set)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    one = Rig()
    yield one
    one.close()


async def test_an_answer_is_its_json_and_the_request_is_what_was_said(rig: Rig) -> None:
    server = rig.server(lambda _: Answer(body=b'{"kind": "Job"}'))
    transport = rig.transport(server.url)
    body = {"metadata": {"name": "j"}}
    answer = await transport.request(
        CALL,
        "POST",
        "/x",
        query=[("labelSelector", "a=b,!c")],
        body=body,
        content_type="application/merge-patch+json",
    )
    assert answer == {"kind": "Job"}
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/x?labelSelector=a%3Db%2C%21c")
    assert json.loads(asked.body) == body
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.headers["Accept"] == "application/json"
    assert asked.headers["User-Agent"].startswith("databosun/")
    assert rig.outcomes == [("get", "ok")]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("status", [429, 503])
async def test_nothing_is_retried_below_the_queue(rig: Rig, method: str, status: int) -> None:
    server = rig.server(lambda _: Answer(status, b"{}", {"Retry-After": "1"}))
    with pytest.raises((errors.Throttled, errors.Unavailable)):
        await rig.transport(server.url).request(CALL, method, "/x", content_type="application/json")
    assert len(server.asked) == 1


async def test_a_server_that_falls_silent_is_unreachable(rig: Rig) -> None:
    free = threading.Event()
    rig.release_at_end(free)
    server = rig.server(lambda _: (free.wait(60), Answer())[1])
    with pytest.raises(errors.Unreachable, match=r"get jobs\.batch j in namespace shop: no answer from http://127"):
        await rig.transport(server.url).request(CALL, "GET", "/x")
    assert len(server.asked) == 1
    assert rig.outcomes == [("get", "Unreachable")]


async def test_a_request_ends_in_time_even_where_every_thread_hangs(rig: Rig) -> None:
    free = threading.Event()
    rig.release_at_end(free)
    server = rig.server(lambda _: (free.wait(60), Answer())[1])
    settings = TransportSettings(threads=1, connect_timeout=5, read_timeout=60, total_timeout=0.3)
    transport = rig.transport(server.url, settings)
    for _ in range(2):
        with pytest.raises(errors.Unreachable, match=r"within 0\.3 s"):
            await transport.request(CALL, "GET", "/x")


async def test_a_refused_connection_is_unreachable(rig: Rig) -> None:
    with serving(lambda _: Answer()) as gone:
        pass
    with pytest.raises(errors.Unreachable, match="refused"):
        await rig.transport(gone.url).request(CALL, "GET", "/x")


async def test_a_cut_answer_is_unreachable(rig: Rig) -> None:
    server = rig.server(lambda _: Answer(body=b'{"a":', headers={"Content-Length": "100", "Connection": "close"}))
    with pytest.raises(errors.Unreachable):
        await rig.transport(server.url).request(CALL, "GET", "/x")


async def test_an_answer_that_is_not_json_is_a_fault_of_the_world(rig: Rig) -> None:
    server = rig.server(lambda _: Answer(body=b"<html>please log in</html>"))
    with pytest.raises(errors.Unavailable, match=r"did not answer with JSON: .*please log in"):
        await rig.transport(server.url).request(CALL, "GET", "/x")


async def test_a_redirect_is_not_followed(rig: Rig) -> None:
    server = rig.server(lambda _: Answer(307, b"", {"Location": "/elsewhere"}))
    with pytest.raises(errors.BadRequest, match="HTTP 307"):
        await rig.transport(server.url).request(CALL, "GET", "/x")
    assert [asked.path for asked in server.asked] == ["/x"]


# --- Where the API server is ---


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's service account; gives its token file."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text("certificate")
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return token


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Puts the client's clock a quarter of an hour ahead."""
    ahead = datetime.timedelta(minutes=15)
    fake = SimpleNamespace(
        datetime=SimpleNamespace(now=lambda: datetime.datetime.now() + ahead),  # noqa: DTZ005 (the client's own way)
        timedelta=datetime.timedelta,
    )
    return lambda: monkeypatch.setattr(incluster, "datetime", fake)


def test_a_pods_token_is_read_again_after_it_was_replaced(account: Path, later: Callable[[], None]) -> None:
    transport = Transport(load_configuration())
    try:
        first = transport.endpoint()
        assert (first.server, first.authorization) == ("https://[fd00::1]:443", "bearer first")
        assert first.ca_file == str(account.with_name("ca.crt"))
        account.write_text("second")
        assert transport.endpoint().authorization == "bearer first"
        later()
        assert transport.endpoint().authorization == "bearer second"
    finally:
        transport.close()


async def test_a_token_file_that_is_gone_for_a_moment_is_a_fault_of_the_world(
    account: Path, later: Callable[[], None]
) -> None:
    transport = Transport(load_configuration(), QUICK)
    try:
        remove(account)
        later()
        with pytest.raises(errors.Unreachable, match="token"):
            await transport.request(CALL, "GET", "/x")
    finally:
        transport.close()


@pytest.mark.usefixtures("account")
def test_a_kubeconfig_wins_over_the_pods_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    assert load_configuration(str(path)).host == "http://127.0.0.1:1"
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert load_configuration().host == "http://127.0.0.1:1"


def test_nowhere_to_go_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.NoKubeconfig, match=r"nothing\.yaml.*set KUBECONFIG"):
        load_configuration(str(tmp_path / "nothing.yaml"))


def test_an_empty_account_says_what_is_wrong(account: Path) -> None:
    account.write_text("")
    with pytest.raises(errors.NoKubeconfig, match="Token file exists but empty"):
        load_configuration()
