"""Names from the cluster, for the shell's completion. Quiet: whatever goes wrong, there is nothing to complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import typer

from databosun.cli.options import Where

PATIENCE: Final = 3.0

Completer = Callable[[typer.Context, str], list[str]]


def names_of(kind: str) -> Completer:
    """A completer of the names of one kind, in the namespace that stands on the command line so far."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        where = Where(ctx.params.get("kubeconfig"), ctx.params.get("context"), ctx.params.get("namespace"))
        return [name for name in _names(where, kind) if name.startswith(incomplete)]

    return complete


def _names(where: Where, kind: str) -> list[str]:
    from databosun.cli.output import Screen
    from databosun.cli.session import open_session
    from databosun.domain.errors import DatabosunError
    from databosun.kube.resources import NAMESPACES, OWN_KINDS

    resource = next(one for one in (*OWN_KINDS, NAMESPACES) if one.kind == kind)

    async def read() -> list[str]:
        session = open_session(where, Screen())
        try:
            async with asyncio.timeout(PATIENCE):
                listed = session.kube.list_metadata(resource, session.namespace if resource.namespaced else None)
                return sorted([body["metadata"]["name"] async for body in listed])
        finally:
            session.close()

    try:
        return asyncio.run(read())
    except (DatabosunError, TimeoutError):
        return []
