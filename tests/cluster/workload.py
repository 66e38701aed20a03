"""A pod and a Service that answer with a word, and a pod that asks; made of what every Debian has."""

from __future__ import annotations

from typing import Any

SERVER = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die $!;"
    'while (my $c = $s->accept) { print $c "WORD\\n"; close $c }'
)


def server(name: str, image: str, word: str) -> dict[str, Any]:
    """Return a pod that answers every connection on port 8080 with ``word``, and its Service on port 80."""
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["perl", "-e", SERVER.replace("WORD", word)],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [pod, service]}


def client(name: str, image: str) -> dict[str, Any]:
    """Return a pod to run commands in."""
    container = {"name": "client", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "infinity"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def ask(host: str) -> list[str]:
    """Return the command that prints what the server behind ``host`` answers."""
    return ["bash", "-c", f"cat < /dev/tcp/{host}/80"]
