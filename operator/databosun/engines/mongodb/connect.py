"""Connections: which host, in which TLS mode, and what it means when one is refused. Each is to one server alone."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import MongoClient

from databosun.api.v1alpha1.database import TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mongodb.faults import connect_fault, guarded, no_tls_fault
from databosun.engines.reaching import resolve

CONNECT_SECONDS = 10.0
# A batch of documents comes at once, or not at all: a peer that is silent for so long is gone.
_SILENT_SECONDS = 600.0
_HANDSHAKE_SECONDS = 5.0
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING", None})
APPLICATION = "databosun"

Document = dict[str, Any]
Client = MongoClient[Document]
# Times that Python cannot hold stay what they are.
CODEC: CodecOptions[Document] = CodecOptions(
    document_class=dict, tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: `host` as given or announced (TLS checks it), `address` as resolved (None: a socket's path)."""

    host: str
    port: int
    address: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.address else self.host


def endpoints_of(host: str, port: int) -> tuple[Endpoint, ...]:
    """The first address of a name stands for it. WorldFault(UnknownHost)."""
    if host.startswith("/"):
        return (Endpoint(host, port),)
    return tuple(Endpoint(host, port, address) for address in resolve(host, port)[:1])


@contextmanager
def opened(
    target: Target, endpoint: Endpoint, *, silent: float = _SILENT_SECONDS, patience: float = CONNECT_SECONDS
) -> Iterator[Client]:
    """A client that is logged in. UserFault or WorldFault says what was refused and how to mend it.

    `silent`: seconds that an answer may take; `patience`: to be let in.
    """
    client = connected(target, endpoint, silent=silent, patience=patience)
    try:
        yield client
    finally:
        client.close()


def connected(
    target: Target, endpoint: Endpoint, *, silent: float = _SILENT_SECONDS, patience: float = CONNECT_SECONDS
) -> Client:
    """The same, the caller's to close."""
    user = target.credentials.username
    _knock(endpoint, target.database.tls, patience)
    with guarded(f"connection to {endpoint} as {user or 'nobody'}", user):
        client = _client(target, endpoint, silent, patience)
        try:
            client.admin.command("ping")
        except BaseException:
            client.close()
            raise
    return client


def _knock(endpoint: Endpoint, tls: TLSMode, patience: float) -> None:
    """The driver tells all that can be wrong with a network as one."""
    try:
        if endpoint.address is None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local:
                local.connect(endpoint.host)
            return
        plain = socket.create_connection((endpoint.address, endpoint.port), timeout=patience)
    except OSError as error:
        raise connect_fault(error, str(endpoint)) from error
    with plain:
        if tls is not TLSMode.DISABLE:
            _shake_hands(plain, endpoint)


def _shake_hands(plain: socket.socket, endpoint: Endpoint) -> None:
    """Only whether TLS is spoken at all; what is wrong with certificates, the driver says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain.settimeout(_HANDSHAKE_SECONDS)
    try:
        context.wrap_socket(plain).close()
    except (TimeoutError, ConnectionError, ssl.SSLError) as error:
        if isinstance(error, ssl.SSLError) and error.reason not in _NO_TLS:
            return
        raise no_tls_fault(str(endpoint)) from error


def _client(target: Target, endpoint: Endpoint, silent: float, patience: float) -> Client:
    credentials, tls = target.credentials, target.database.tls
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    settings: dict[str, Any] = {
        "directConnection": True,
        "appname": APPLICATION,
        "connectTimeoutMS": int(patience * 1000),
        "serverSelectionTimeoutMS": int(patience * 1000),
        "socketTimeoutMS": max(1, int(silent * 1000)),
        "heartbeatFrequencyMS": 60_000,
        "retryReads": False,  # what is read twice would be in a stream twice
        "tz_aware": True,
        "tzinfo": UTC,
        "datetime_conversion": DatetimeConversion.DATETIME_AUTO,
    }
    if credentials.username:
        settings |= {"username": credentials.username, "password": credentials.password, "authSource": "admin"}
    where = f"mongodb://{quote_plus(endpoint.host)}" if endpoint.address is None else f"{host}:{endpoint.port}"
    if endpoint.address is None or tls is TLSMode.DISABLE:
        return MongoClient(where, **settings)
    if tls is not TLSMode.REQUIRE and credentials.ca is None:
        raise UserFault(Reason.TLS_FAILURE, f"tls.mode {tls} needs the authority's certificate in tls.caSecretRef")
    with _certificate(credentials) as pair:
        return MongoClient(where, **settings, **_tls(credentials, tls), **pair)


def _tls(credentials: Credentials, tls: TLSMode) -> dict[str, Any]:
    if tls is TLSMode.REQUIRE:
        return {"tls": True, "tlsAllowInvalidCertificates": True}
    return {"tls": True, "tlsCAFile": str(credentials.ca), "tlsAllowInvalidHostnames": tls is not TLSMode.VERIFY_FULL}


@contextmanager
def _certificate(credentials: Credentials) -> Iterator[dict[str, Any]]:
    """The driver wants certificate and key in one file, and reads it once: it is gone when the client is made."""
    if not (credentials.cert and credentials.key):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="bosun-") as folder:
        pair = Path(folder, "pair.pem")
        pair.touch(mode=0o600)
        pair.write_bytes(credentials.cert.read_bytes() + b"\n" + credentials.key.read_bytes())
        yield {"tlsCertificateKeyFile": str(pair)}
