"""Patroni's REST API: what it says of the cluster, and the one order that is given.

Never `POST /failover`: without a leader it promotes a member whatever that lacks. The login is sent to the endpoints
of the Database alone, and only where Patroni asks for one; the addresses of members, which come from the cluster
itself, are only read from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Credentials
from databosun.engines.failover import FailoverFault

CONNECT_SECONDS = 2.0
READ_SECONDS = 4.0
SWITCHOVER_SECONDS = 60.0
"""Patroni answers once it is over: after 2 x loop_wait, at least 20 s, it says that it does not know."""
_MOST_BYTES = 1 << 20
_DENIED = (401, 403)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Patroni said. `text`: in its own words, shortened."""

    endpoint: str
    status: int
    data: bytes

    @property
    def text(self) -> str:
        """On one line."""
        return " ".join(self.data.decode("utf-8", "replace").split())[:300]

    def document(self) -> Mapping[str, Any]:
        """A JSON object. WorldFault where it is none."""
        found = self._json()
        if not isinstance(found, dict):
            raise self._not_json()
        return found

    def list(self) -> Sequence[Any]:
        """A JSON list. WorldFault where it is none."""
        found = self._json()
        if not isinstance(found, list):
            raise self._not_json()
        return found

    def _json(self) -> object:
        try:
            return json.loads(self.data)
        except ValueError:
            return None

    def _not_json(self) -> WorldFault:
        message = f"{self.endpoint} answered {self.status}, and not in the JSON of Patroni: {self.text or 'nothing'}"
        return WorldFault(FailoverFault.PROVIDER_UNREACHABLE, message)


@dataclass(frozen=True, slots=True)
class Rest:
    """The API of one cluster. `pulse` raises where the agent is to stop."""

    endpoints: tuple[str, ...]
    login: Credentials
    pulse: Callable[[], None]
    pool: urllib3.PoolManager

    def read(self, path: str) -> Answer:
        """What the first endpoint says that knows it. WorldFault(ProviderUnreachable) names what each said."""
        told = []
        for endpoint in self.endpoints:
            try:
                answer = self.get(f"{endpoint}{path}")
                if answer.status == 200:
                    return answer
                told.append(f"{endpoint} answered {answer.status}: {answer.text}")
            except WorldFault as fault:
                told.append(fault.message)
        message = f"no endpoint of Patroni says anything of {path}: {' | '.join(told)}"
        raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, message)

    def get(self, url: str) -> Answer:
        """Read one address. WorldFault where nobody answers."""
        self.pulse()
        return self._ask("GET", url, None, {}, READ_SECONDS)

    def post_switchover(self, order: Mapping[str, str]) -> Answer:
        """Give the order to the first endpoint that takes it; nothing is sent twice. WorldFault where none can be
        reached, or where the answer did not come."""
        told = []
        for endpoint in self.endpoints:
            try:
                if self.get(f"{endpoint}/liveness").status >= 500:  # so that the order is not sent into the dark
                    continue
            except WorldFault as fault:
                told.append(fault.message)
                continue
            return self._with_login(endpoint, order)
        message = f"no endpoint of Patroni answers: {' | '.join(told)}"
        raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, message)

    def may_switch(self, endpoint: str) -> Answer:
        """An order that names no leader, which every Patroni refuses after it has looked at the login."""
        return self._with_login(endpoint, {"candidate": "databosun-asks-whether-it-may"})

    def _with_login(self, endpoint: str, order: Mapping[str, str]) -> Answer:
        url, body = f"{endpoint}/switchover", json.dumps(order).encode()
        headers = {"Content-Type": "application/json"}
        answer = self._ask("POST", url, body, headers, SWITCHOVER_SECONDS)
        if answer.status not in _DENIED:
            return answer
        headers |= urllib3.make_headers(basic_auth=f"{self.login.username}:{self.login.password}")
        return self._ask("POST", url, body, headers, SWITCHOVER_SECONDS)

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> Answer:
        try:
            answer = self.pool.request(
                method, url, body=body, headers=dict(headers), redirect=False, retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds), preload_content=False,
            )  # fmt: skip
            try:
                data = answer.read(_MOST_BYTES)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            message = f"{url} does not answer: {error}"
            raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, message[:500]) from error
        return Answer(url, answer.status, data)


def open_rest(endpoints: list[str], login: Credentials, pulse: Callable[[], None]) -> Rest:
    """UserFault(ProviderUnsupported) where an endpoint is no address of a REST API."""
    tls: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED"}
    if login.ca is not None:
        tls["ca_certs"] = str(login.ca)
    if login.cert is not None and login.key is not None:
        tls |= {"cert_file": str(login.cert), "key_file": str(login.key)}
    return Rest(tuple(_checked(one) for one in endpoints), login, pulse, urllib3.PoolManager(num_pools=8, **tls))


def _checked(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        message = (
            f"spec.replication.endpoints has {endpoint!r}; provider Patroni needs the address of each REST API, such "
            "as http://orders-0.orders.shop.svc:8008"
        )
        raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
    return f"{parts.scheme}://{parts.netloc}"
