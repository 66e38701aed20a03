"""What a kind is: its names, its models, and what `kubectl get` shows of it."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.v1alpha1.common import Model


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `wide` ones appear with `-o wide` only. Times to come are strings, never dates."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. All are namespaced; `name_limit` is what names derived from its name leave room for."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Model] | None
    columns: tuple[Column, ...]
    name_limit: int | None = None
    selectable: tuple[str, ...] = ()

    @property
    def singular(self) -> str:
        """The name of one, as `kubectl` takes it."""
        return self.kind.lower()


def condition(kind: str, field: str = "status") -> str:
    """Where a condition stands in an object."""
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


AGE = Column("Age", ".metadata.creationTimestamp", "date")

READY = Column("Ready", condition("Ready"))

MESSAGE = Column("Message", condition("Ready", "message"), wide=True)
