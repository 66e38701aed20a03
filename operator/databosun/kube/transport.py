"""HTTP to the API server through the official client, in threads. The only module that imports `kubernetes`.

Of that client only connection, TLS and credentials are used: requests and answers stay plain JSON, because its model
classes would cost memory and drop fields that they do not know. Importing it costs nothing more: kopf does so anyway.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from databosun import __version__
from databosun.kube.answers import Call, refusal
from databosun.kube.errors import NoKubeconfig, Unavailable, Unreachable

Decoded = TypeVar("Decoded")
Query = Sequence[tuple[str, str]]
Observe = Callable[[Call, str, float], None]
"""Told after each request: the call, its outcome (`ok` or the error's class), and its seconds."""
POD_NAMESPACE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How many requests run at once, and how long one may take (seconds).

    `read_timeout` bounds each silence of the server, `total_timeout` the whole request with its wait for a thread.
    """

    threads: int = 20
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    total_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API server is and how to log in, for other clients in this process (kopf). Files are PEM."""

    server: str
    verify: bool
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    authorization: str | None


def load_configuration(kubeconfig: str | None = None, context: str | None = None) -> Configuration:
    """Where the API server is: the given kubeconfig or `$KUBECONFIG`, else the pod's account, else `~/.kube/config`.

    `context` names one of the kubeconfig's contexts; None: its current one.
    A service account's token is read again from its file every minute (it is replaced before it expires), and its
    certificate authority with every new connection. NoKubeconfig where none of the three is there or readable.
    """
    configuration = Configuration()
    chosen = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if not chosen and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(client_configuration=configuration)
        else:
            load_kube_config(
                config_file=chosen or None, context=context, client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError) as error:
        where = chosen or "the pod's service account or ~/.kube/config"
        why = str(error).rstrip(".")
        message = f"cannot tell where the API server is from {where}: {why}. Run in a pod, or set KUBECONFIG"
        raise NoKubeconfig(message) from error
    # The queue retries, with back-off and a new decision; a retry below it would repeat a decision that is out of date.
    configuration.retries = False
    return configuration


def current_namespace(kubeconfig: str | None = None, context: str | None = None) -> str:
    """The namespace that people mean when they say none: the context's, else the pod's own, else `default`."""
    chosen = kubeconfig or os.environ.get("KUBECONFIG")
    if not chosen and os.environ.get("KUBERNETES_SERVICE_HOST"):
        own = Path(POD_NAMESPACE)
        return own.read_text().strip() if own.exists() else "default"
    try:
        contexts, current = list_kube_config_contexts(config_file=chosen or None)
    except (ConfigException, OSError):
        return "default"
    meant = next((one for one in contexts if one["name"] == context), current) if context else current
    return str((meant or {}).get("context", {}).get("namespace") or "default")


class Transport:
    """Sends requests on a bounded number of threads, each with a connection of its own. Retries nothing."""

    def __init__(
        self,
        configuration: Configuration,
        settings: TransportSettings | None = None,
        observe: Observe = lambda _call, _outcome, _seconds: None,
    ) -> None:
        self._settings = settings or TransportSettings()
        configuration.connection_pool_maxsize = self._settings.threads
        self._configuration = configuration
        self._api = ApiClient(configuration)
        self._api.user_agent = f"databosun/{__version__}"
        self._executor = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="kube")
        self._observe = observe

    async def request(
        self, call: Call, method: str, path: str, *, query: Query = (), body: Any = None, **headers: str
    ) -> Any:
        """Send a request, and give the answer's JSON. Headers by keyword, underscores for dashes (`accept=…`)."""
        return await self._run(call, json.loads, method, path, query, body, headers)

    async def read(self, call: Call, path: str, *, query: Query = ()) -> bytes:
        """Send a GET, and give the answer's bytes as they are."""
        return await self._run(call, bytes, "GET", path, query, None, {"accept": "*/*"})

    def endpoint(self) -> Endpoint:
        """What another client needs to reach the same server as the same account, as of now."""
        settings = self._configuration
        return Endpoint(
            server=settings.host,
            verify=bool(settings.verify_ssl),
            ca_file=settings.ssl_ca_cert,
            certificate_file=settings.cert_file,
            key_file=settings.key_file,
            authorization=settings.get_api_key_with_prefix("BearerToken", alias="authorization"),
        )

    def close(self) -> None:
        """Drop waiting requests and idle connections; those on their way end by their timeouts."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._api.close()

    async def _run(
        self,
        call: Call,
        decode: Callable[[bytes], Decoded],
        method: str,
        path: str,
        query: Query,
        body: Any,
        headers: Mapping[str, str],
    ) -> Decoded:
        started = time.monotonic()
        outcome = "Cancelled"
        try:
            async with asyncio.timeout(self._settings.total_timeout):
                future = asyncio.get_running_loop().run_in_executor(
                    self._executor, self._send, call, decode, method, path, query, body, headers
                )
                answer = await future
            outcome = "ok"
        except TimeoutError as error:
            outcome = Unreachable.__name__
            message = f"{call}: no answer from {self._configuration.host} within {self._settings.total_timeout:g} s"
            raise Unreachable(message) from error
        except Exception as error:  # only to name the outcome
            outcome = type(error).__name__
            raise
        finally:
            self._observe(call, outcome, time.monotonic() - started)
        return answer

    def _send(
        self,
        call: Call,
        decode: Callable[[bytes], Decoded],
        method: str,
        path: str,
        query: Query,
        body: Any,
        headers: Mapping[str, str],
    ) -> Decoded:
        """Runs in a thread. Parses there too: a page of 500 objects takes milliseconds that the event loop has not."""
        try:
            request = self._api.param_serialize(
                method,
                path,
                query_params=list(query),
                header_params={"Accept": "application/json"} | _header_names(headers),
                auth_settings=["BearerToken"],
            )
            answer = self._api.call_api(
                *request[:3], body=body, _request_timeout=(self._settings.connect_timeout, self._settings.read_timeout)
            )
            content: bytes = answer.read()
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
            message = f"{call}: no answer from {self._configuration.host}: {_first_line(error)}"
            raise Unreachable(message) from error
        if answer.status >= 300:
            raise refusal(call, answer.status, content)
        try:
            return decode(content)
        except ValueError as error:
            message = f"{call}: {self._configuration.host} did not answer with JSON: {content[:200]!r}"
            raise Unavailable(message) from error


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
