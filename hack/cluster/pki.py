"""The cluster's certificates: made with openssl, and made anew before they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.layout import Layout
from hack.common import progress, run, succeeds, write_file

DAYS = 365
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
RENEW_BEFORE = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate: its subject, its alternative names and, where it is a client's, the server it calls."""

    name: str
    subject: str
    alternative_names: Sequence[str]
    server: str | None = None


def identities(layout: Layout) -> list[Identity]:
    """Return every certificate that the cluster needs."""
    service = "kubernetes.default.svc"
    api_names = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local"]
    api_addresses = ["127.0.0.1", layout.loopback, layout.host_address, layout.first_service]
    api = [f"DNS:{name}" for name in api_names] + [f"IP:{address}" for address in api_addresses]
    node = ["DNS:node1", "IP:127.0.0.1", f"IP:{layout.gateway}"]
    return [
        Identity("apiserver", "/CN=kube-apiserver", api),
        Identity("admin", "/O=system:masters/CN=admin", ["DNS:admin"], layout.api),
        Identity("controllers", "/CN=system:kube-controller-manager", ["DNS:controllers"], layout.api),
        Identity("scheduler", "/CN=system:kube-scheduler", ["DNS:scheduler"], layout.api),
        Identity("coredns", "/O=system:masters/CN=coredns", ["DNS:coredns"], layout.api_for_node),
        Identity("proxy", "/CN=system:kube-proxy", ["DNS:proxy"], layout.api_for_node),
        Identity("kubelet", "/O=system:nodes/CN=system:node:node1", node, layout.api_for_node),
    ]


def kubeconfig_of(layout: Layout, name: str) -> Path:
    """Return the file with which an identity calls the API server."""
    return layout.kubeconfig if name == "admin" else layout.config / f"{name}.conf"


def ensure(layout: Layout) -> None:
    """Have valid certificates, keys and kubeconfigs; what is expired or has under 30 days left is made anew."""
    layout.pki.mkdir(mode=0o700, exist_ok=True)
    _service_account_key(layout.pki)
    renewed = _authority(layout.pki)
    for identity in identities(layout):
        if renewed or not _good(layout.pki, identity.name):
            _certificate(layout.pki, identity)
        if identity.server:
            _kubeconfig(layout, identity, identity.server)


def _service_account_key(pki: Path) -> None:
    if not (pki / "sa.pub").exists():
        run(["openssl", "genrsa", "-out", pki / "sa.key", "2048"])
        write_file(pki / "sa.pub", run(["openssl", "rsa", "-in", pki / "sa.key", "-pubout"]))


def _valid(certificate: Path) -> bool:
    return succeeds(["openssl", "x509", "-in", certificate, "-noout", "-checkend", str(RENEW_BEFORE)])


def _good(pki: Path, name: str) -> bool:
    certificate = pki / f"{name}.crt"
    return _valid(certificate) and succeeds(["openssl", "verify", "-CAfile", pki / "ca.crt", certificate])


def _authority(pki: Path) -> bool:
    """Make the certificate authority if there is no valid one; returns whether it did."""
    if _valid(pki / "ca.crt"):
        return False
    progress("making a certificate authority")
    part = pki / "ca.part"
    files: list[str | Path] = ["-keyout", pki / "ca.key", "-out", part]
    kind = ["-x509", *NEW_KEY, "-days", str(DAYS), "-subj", "/CN=databosun-cluster"]
    run(["openssl", "req", *kind, *files])
    part.rename(pki / "ca.crt")
    return True


def _certificate(pki: Path, identity: Identity) -> None:
    progress(f"making the certificate of {identity.name}")
    key, request, part = (pki / f"{identity.name}.{suffix}" for suffix in ("key", "csr", "part"))
    run(["openssl", "req", *NEW_KEY, "-keyout", key, "-out", request, "-subj", identity.subject])
    extensions = pki / f"{identity.name}.ext"
    names = ",".join(identity.alternative_names)
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    authority: list[str | Path] = ["-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-CAcreateserial"]
    files: list[str | Path] = ["-in", request, "-extfile", extensions, "-out", part]
    run(["openssl", "x509", "-req", "-days", str(DAYS), *authority, *files])
    part.rename(pki / f"{identity.name}.crt")


def _kubeconfig(layout: Layout, identity: Identity, server: str) -> None:
    """Write a kubeconfig that names the certificate's files by what they hold (JSON is YAML, too)."""

    def encoded(name: str) -> str:
        return run(["base64", "-w0", layout.pki / name]).strip()

    cluster = {"server": server, "certificate-authority-data": encoded("ca.crt")}
    user = {
        "client-certificate-data": encoded(f"{identity.name}.crt"),
        "client-key-data": encoded(f"{identity.name}.key"),
    }
    context = f"databosun-{layout.name}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": identity.name, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": identity.name}}],
        "current-context": context,
    }
    write_file(kubeconfig_of(layout, identity.name), json.dumps(content, indent=1) + "\n", mode=0o600)
