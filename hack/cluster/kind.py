"""The provider for a machine where Docker answers: kind, with its nodes in Docker containers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack import golang
from hack.cluster.images import SOURCES
from hack.cluster.provider import Status
from hack.common import Failure, progress, run, state_dir, succeeds, write_file

KIND = ("sigs.k8s.io/kind", "v0.30.0")
NODE_IMAGE = "kindest/node:v1.34.0"


def docker_answers() -> bool:
    """Say whether there is a Docker daemon to work with."""
    return succeeds(["docker", "info"])


@dataclass(frozen=True, slots=True)
class Kind:
    """One cluster by name."""

    name: str

    @property
    def _home(self) -> Path:
        return state_dir() / "kind" / self.name

    @property
    def _node(self) -> str:
        return f"{self.name}-control-plane"

    def up(self) -> None:
        """Have the cluster running and ready."""
        if not docker_answers():
            raise Failure("no Docker daemon answers (`docker info`); without one, use --provider bare")
        if not self._exists():
            progress(f"creating cluster {self.name} with kind")
            run([self._kind(), "create", "cluster", f"--name={self.name}", f"--image={NODE_IMAGE}", "--wait=5m"])
        run(["docker", "start", self._node])
        write_file(self._kubeconfig(), run([self._kind(), "get", "kubeconfig", f"--name={self.name}"]), mode=0o600)
        self._kubectl("wait", "--for=condition=Ready", "--timeout=5m", "node", "--all")
        progress(f"cluster {self.name} is ready")

    def down(self) -> None:
        """Remove the cluster; nothing happens when there is none."""
        run([self._kind(), "delete", "cluster", f"--name={self.name}"])
        self._kubeconfig().unlink(missing_ok=True)
        (self._home / "images.json").unlink(missing_ok=True)

    def load(self, names: Sequence[str]) -> None:
        """Bring images to the node; those whose id was brought there already are skipped."""
        file = self._home / "images.json"
        loaded: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        for name in names:
            image_id = run(["docker", "image", "inspect", "--format={{.Id}}", name]).strip()
            if loaded.get(name) != image_id:
                progress(f"loading {name}")
                run([self._kind(), "load", "docker-image", f"--name={self.name}", name])
                loaded[name] = image_id
                write_file(file, json.dumps(loaded, indent=1))

    def env(self) -> dict[str, str]:
        self._require()
        template = "{{(index .IPAM.Config 0).Gateway}}"
        host = run(["docker", "network", "inspect", "kind", f"--format={template}"]).strip()
        return {"KUBECONFIG": str(self._kubeconfig()), "PATH": str(self._kubectl_path().parent), "DATABOSUN_HOST": host}

    def status(self) -> Status:
        if not self._exists():
            return Status(False, {})
        state = run(["docker", "inspect", "--format={{.State.Status}}", self._node]).strip()
        return Status(state == "running", {self._node: state})

    def kubelet(self, action: str) -> None:
        """Stop the kubelet (containers go on: a frozen node) or start it again."""
        self._require()
        run(["docker", "exec", self._node, "systemctl", action, "kubelet"])

    def kill(self, *, containers: bool) -> None:
        """Kill the node at once; its containers are processes of the node's and cannot be spared."""
        self._require()
        if not containers:
            raise Failure("kind runs the containers inside the node: they cannot outlive it")
        run(["docker", "kill", self._node])

    def _kind(self) -> Path:
        return golang.install(*KIND)

    def _exists(self) -> bool:
        return self.name in run([self._kind(), "get", "clusters"]).split()

    def _require(self) -> None:
        if not self._exists():
            raise Failure(f"there is no cluster {self.name}; bring it up with: cluster up --name {self.name}")

    def _kubeconfig(self) -> Path:
        return self._home / "kubeconfig"

    def _kubectl_path(self) -> Path:
        return golang.build("kubectl", SOURCES, "./kubectl", "", "some minutes the first time")

    def _kubectl(self, *arguments: str) -> None:
        run([self._kubectl_path(), f"--kubeconfig={self._kubeconfig()}", *arguments])
