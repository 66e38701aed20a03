"""moto, with the endpoint of every instance mapped to one real server: what moto itself has not."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_ENDPOINT = re.compile(rb"<Endpoint>\s*<Address>.*?</Endpoint>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to a client."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Account:
    """A WSGI application. `leads_to`: host and port of every endpoint; None: as moto makes them up."""

    def __init__(self, leads_to: Callable[[], tuple[str, int] | None]) -> None:
        self._leads_to = leads_to
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """One call of the API."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        asked = {key: values[0] for key, values in parse_qs(body.decode(errors="replace")).items()}
        answer = self.answer(asked, environ)
        start(answer.status, [*answer.headers, ("Content-Length", str(len(answer.body)))])
        return [answer.body]

    def answer(self, asked: Mapping[str, str], environ: WSGIEnvironment) -> Answer:
        """What moto says, its endpoints mapped."""
        told: list[Any] = []
        with self._lock:
            body = b"".join(self._moto(environ, lambda *given: told.append(given) or (lambda _: None)))
        where = self._leads_to()
        if where is not None:
            host, port = where
            body = _ENDPOINT.sub(f"<Endpoint><Address>{host}</Address><Port>{port}</Port></Endpoint>".encode(), body)
        status, headers = told[0][:2]
        return Answer(status, tuple(pair for pair in headers if pair[0].lower() != "content-length"), body)


class _Quiet(WSGIRequestHandler):
    """Tells nobody of each request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving(account: Account, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """A running server of it; its URL. Ended with the block."""
    server = make_server(host, port, account, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
