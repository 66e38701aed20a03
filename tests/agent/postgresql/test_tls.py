"""Every TLS mode, against a server that speaks it."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.postgresql.conftest import Workshop, target_of
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import UserFault
from databosun.engines.postgresql import ENGINE
from support.pgsample import ROLES
from support.pgserver import Server, hand_over

pytestmark = pytest.mark.servers


@dataclass
class Secured:
    """A server with a certificate for `localhost` only."""

    server: Server
    ca: Path
    other_ca: Path


def make_ca(path: Path, name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A certificate authority; its certificate goes to `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(key, name, key, name, ca=True)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, certificate


def sign(
    key: ec.EllipticCurvePrivateKey, name: str, issuer_key: ec.EllipticCurvePrivateKey, issuer: str, *, ca: bool
) -> x509.Certificate:
    """A certificate of a day."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """A server that takes TLS connections only."""
    server = Server(17, settings={"ssl": "on", "ssl_cert_file": "'server.crt'", "ssl_key_file": "'server.key'"})
    server.init("--wal-segsize=4")
    ca_key, _ = make_ca(server.folder / "ca.crt", "the authority")
    make_ca(server.folder / "other.crt", "another authority")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(key, "localhost", ca_key, "the authority", ca=False)
    (server.data / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (server.data / "server.key").write_bytes(private)
    (server.data / "server.key").chmod(0o600)
    hand_over(server.folder)
    server.hba = tuple(line.replace("host ", "hostssl ", 1) for line in server.hba)
    server.configure()
    server.start()
    server.sql(ROLES)
    server.sql("CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) AS i")
    yield Secured(server, server.folder / "ca.crt", server.folder / "other.crt")
    server.remove()


@pytest.mark.parametrize("mode", [TLSMode.REQUIRE, TLSMode.VERIFY_CA, TLSMode.VERIFY_FULL])
def test_each_mode_connects(secured: Secured, mode: TLSMode) -> None:
    target = target_of(secured.server, hosts=("localhost",), tls=mode, ca=secured.ca)
    assert ENGINE.probe(target, [Method.PHYSICAL], incremental=False).findings == []


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
def test_a_whole_backup_over_tls(secured: Secured, workshop_of: Callable[[Server], Workshop], method: Method) -> None:
    target = target_of(secured.server, hosts=("localhost",), tls=TLSMode.VERIFY_FULL, ca=secured.ca)
    captured, _ = workshop_of(secured.server).back_up("b", method, target=target)
    assert captured.method is method


@pytest.mark.parametrize(
    ("host", "mode", "ca", "reason"),
    [
        ("localhost", TLSMode.VERIFY_CA, "other_ca", "TLSFailure"),
        ("localhost", TLSMode.VERIFY_FULL, "other_ca", "TLSFailure"),
        ("127.0.0.1", TLSMode.VERIFY_FULL, "ca", "TLSFailure"),
        ("localhost", TLSMode.DISABLE, "ca", "NoPgHbaEntry"),
    ],
)
def test_what_does_not_fit_is_refused(secured: Secured, host: str, mode: TLSMode, ca: str, reason: str) -> None:
    target = target_of(secured.server, hosts=(host,), tls=mode, ca=getattr(secured, ca))
    with pytest.raises(UserFault) as caught:
        ENGINE.probe(target, [], incremental=False)
    assert caught.value.reason == reason
    assert "spec.connection.tls" in caught.value.message or "pg_hba.conf" in caught.value.message


def test_the_address_is_no_name_of_the_certificate(secured: Secured) -> None:
    """The case above must fail for its name, not for its authority."""
    assert ipaddress.ip_address("127.0.0.1").is_loopback
    target = target_of(secured.server, hosts=("127.0.0.1",), tls=TLSMode.VERIFY_CA, ca=secured.ca)
    assert ENGINE.probe(target, [], incremental=False).reachable


def test_a_server_without_tls(servers: Callable[[int], Server]) -> None:
    with pytest.raises(UserFault) as caught:
        ENGINE.probe(target_of(servers(17), tls=TLSMode.REQUIRE), [], incremental=False)
    assert caught.value.reason == "TLSNotOffered"
