"""The client where a real API server cannot be made to say it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kubernetes.client import Configuration

from databosun.kube import errors
from databosun.kube.client import KubeClient
from databosun.kube.ratelimit import TokenBucket
from databosun.kube.resources import BACKUPS, JOBS
from databosun.kube.transport import Transport
from support.clock import FakeClock
from support.httpserver import Answer, Asked, serving

Client = Callable[..., KubeClient]


@pytest.fixture
def client() -> Iterator[Client]:
    with ExitStack() as stack:

        def make(answer: Callable[[Asked], Answer], writes: TokenBucket | None = None) -> KubeClient:
            server = stack.enter_context(serving(answer))
            configuration = Configuration(host=server.url)
            configuration.retries = False
            kube = KubeClient(Transport(configuration), writes)
            stack.callback(kube.close)
            return kube

        yield make


def reply(body: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def failure(status: int, reason: str, message: str) -> Answer:
    return reply(
        {"kind": "Status", "code": status, "reason": reason, "message": message, "details": {"name": "x"}}, status
    )


async def test_a_list_whose_snapshot_is_gone_says_so_and_was_not_taken_for_whole(client: Client) -> None:
    def answer(asked: Asked) -> Answer:
        if "continue=" in asked.path:
            return failure(410, "Expired", "The provided continue parameter is too old")
        return reply({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]})

    seen: list[str] = []

    async def read() -> None:
        async for item in client(answer).list(BACKUPS, "shop"):
            seen.append(item["metadata"]["name"])

    with pytest.raises(errors.Expired):
        await read()
    assert seen == ["a"]


async def test_an_empty_list_may_come_as_null(client: Client) -> None:
    kube = client(lambda _: reply({"metadata": {}, "items": None}))
    assert [item async for item in kube.list(BACKUPS, None)] == []


@pytest.mark.parametrize(
    "message",
    [
        'container "agent" in pod "x" is waiting to start: ContainerCreating',
        'container "agent" in pod "x" is waiting to start: trying and failing to pull image',
        "pod x does not have a host assigned",
    ],
)
async def test_a_container_that_has_not_started_has_an_empty_log(client: Client, message: str) -> None:
    kube = client(lambda _: failure(400, "BadRequest", message))
    assert await kube.pod_log("shop", "x") == b""


async def test_any_other_bad_request_for_a_log_is_one(client: Client) -> None:
    kube = client(lambda _: failure(400, "BadRequest", "a container name must be specified for pod x"))
    with pytest.raises(errors.BadRequest, match="container name"):
        await kube.pod_log("shop", "x")


async def test_a_log_is_given_as_it_is(client: Client) -> None:
    kube = client(lambda _: Answer(body=b"\xff\x00not json\n"))
    assert await kube.pod_log("shop", "x", tail_lines=5) == b"\xff\x00not json\n"


async def test_writes_wait_for_a_token_and_reads_do_not(client: Client) -> None:
    clock = FakeClock()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    kube = client(lambda _: reply({"metadata": {}}), TokenBucket(2, 1, monotonic=clock.monotonic, sleep=sleep))
    for _ in range(3):
        await kube.get(BACKUPS, "shop", "x")
    assert slept == []
    await kube.create(JOBS, "shop", {"metadata": {"name": "x"}})
    await kube.patch_status(BACKUPS, "shop", "x", {}, "1")
    await kube.delete(BACKUPS, "shop", "x", uid="u")
    assert slept == [0.5, 1.0]


async def test_a_kind_that_vanished_is_not_a_deletion_that_succeeded(client: Client) -> None:
    kube = client(lambda _: Answer(404, b"404 page not found\n"))
    with pytest.raises(errors.ResourceAbsent):
        await kube.delete(BACKUPS, "shop", "x", uid="u")
    with pytest.raises(errors.ResourceAbsent):
        await kube.get(BACKUPS, "shop", "x")
