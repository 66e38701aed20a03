"""Certificates that have ended, or soon will, are made anew by the next ``up``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from cluster.handle import Cluster

pytestmark = pytest.mark.cluster
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def cluster(new_cluster: Callable[[str], Cluster]) -> Cluster:
    one = new_cluster("certs")
    one.run("up")
    return one


def _age(pki: Path, name: str, end: datetime) -> None:
    """Write a certificate over the one there is, the same but for its time: it ends at ``end``."""
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    old = x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes())
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(end - timedelta(days=365)).not_valid_after(end)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    new = builder.sign(key, hashes.SHA256())
    (pki / f"{name}.crt").write_bytes(new.public_bytes(serialization.Encoding.PEM))


def _end(pki: Path, name: str) -> datetime:
    return x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes()).not_valid_after_utc


def test_only_what_has_ended_or_soon_will_is_renewed(cluster: Cluster) -> None:
    pki = cluster.home / "pki"
    left = {"apiserver": timedelta(hours=-1), "admin": timedelta(hours=-1), "kubelet": timedelta(days=29)}
    before = {file.stem: file.read_bytes() for file in pki.glob("*.crt")}
    for name, time in left.items():
        _age(pki, name, NOW + time)
    cluster.run("up")
    assert all(_end(pki, name) > NOW + timedelta(days=300) for name in left)
    assert {file.stem for file in pki.glob("*.crt") if file.read_bytes() != before[file.stem]} == left.keys()
    assert "node1" in cluster.kubectl("get", "nodes")


def test_everything_is_renewed_after_the_authority(cluster: Cluster) -> None:
    pki = cluster.home / "pki"
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    _age(pki, "ca", NOW - timedelta(days=1))
    cluster.run("up")
    assert all(_end(pki, file.stem) > NOW + timedelta(days=300) for file in pki.glob("*.crt"))
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    host, _, port = cluster.kubectl("config", "view", "--output=jsonpath={.clusters[0].cluster.server}")[8:].partition(
        ":"
    )
    assert ssl.get_server_certificate((host, int(port)), ca_certs=str(pki / "ca.crt"))
