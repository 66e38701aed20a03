"""Backups of real servers in a store, and pods that read them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.pgserver import Server
from support.recoveryyard import Yard


@pytest.fixture
def yard_of(servers: Callable[[int], Server], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Yard]:
    """A yard around a server, by major or itself."""

    def make(which: int | Server, **more: Any) -> Yard:
        server = which if isinstance(which, Server) else servers(which)
        monkeypatch.setenv("DATABOSUN_POSTGRESQL_BIN", str(server.bin))
        return Yard(server, workplace, **more)

    return make
