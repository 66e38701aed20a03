"""Rigs for tests of the controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.operator import Rig


@pytest_asyncio.fixture(params=["memory", pytest.param("server", marks=pytest.mark.api)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """The controllers with simulated agents: quickly on an API server in memory, then on a real one."""
    if request.param == "memory":
        made = Rig(None)
    else:
        made = Rig(request.getfixturevalue("kinds").kubeconfig, request.getfixturevalue("namespace"))
    yield made
    await made.close()
