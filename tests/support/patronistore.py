"""What Patroni writes down in its etcd, over the gateway that speaks JSON: the one place that shows an order."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ANSWER_SECONDS = 60.0
_ORDER_SECONDS = 240.0
_ORDER = base64.b64encode(b"/service/shop/failover").decode()


@dataclass(frozen=True, slots=True)
class PatroniStore:
    """One etcd."""

    url: str

    def revision(self) -> int:
        """As it is now."""
        return int(self._look()["header"]["revision"])

    def order_under_way(self) -> bool:
        """Whether one was given that was neither carried out nor given up: Patroni empties it then."""
        return any(json.loads(base64.b64decode(one["value"])) for one in self._look().get("kvs", ()))

    def await_order(self, since: int) -> None:
        """Until one was given after that revision."""
        wanted = {"create_request": {"key": _ORDER, "start_revision": since + 1}}
        with self._post("/v3/watch", wanted, _ORDER_SECONDS) as said:
            while not json.loads(said.readline())["result"].get("events"):
                pass

    def _look(self) -> Any:
        with self._post("/v3/kv/range", {"key": _ORDER}, _ANSWER_SECONDS) as answer:
            return json.load(answer)

    def _post(self, path: str, words: Mapping[str, object], seconds: float) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(words).encode(), method="POST")
        return urllib.request.urlopen(request, timeout=seconds)
