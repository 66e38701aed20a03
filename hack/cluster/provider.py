"""What every provider of a cluster can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Status:
    """Whether all of a cluster runs, and what there is to say about its parts."""

    running: bool
    parts: Mapping[str, str]


class Provider(Protocol):
    """One cluster by name; each call may be repeated."""

    def up(self) -> None: ...

    def down(self) -> None: ...

    def load(self, names: Sequence[str]) -> None: ...

    def env(self) -> dict[str, str]:
        """Return KUBECONFIG, PATH (the folder to put first) and DATABOSUN_HOST (how pods reach this machine)."""
        ...

    def status(self) -> Status: ...

    def kubelet(self, action: str) -> None: ...

    def kill(self, *, containers: bool) -> None: ...
