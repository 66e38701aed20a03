"""What decides depends on what it is given: `domain` and `api` read no clock, no environment, no chance, no file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "operator" / "databosun"
PURE = sorted(path for part in ("domain", "api") for path in (PACKAGE / part).rglob("*.py"))

IMPURE_MODULES = {
    "asyncio",
    "concurrent",
    "fcntl",
    "getpass",
    "http",
    "io",
    "locale",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "platform",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "boto3",
    "httpx",
    "kopf",
    "kubernetes",
    "obstore",
    "psycopg",
    "requests",
    "rich",
    "typer",
}
IMPURE_CALLS = {
    "open",
    "print",
    "input",
    "breakpoint",
    "exec",
    "eval",
    "now",
    "utcnow",
    "today",
    "uuid1",
    "uuid4",
    "getenv",
}


def impurities(source: str) -> list[str]:
    """Each import and call of a module's source that reaches outside, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: import {one.name}" for one in node.names if _impure(one.name)]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names]
            found += [f"line {node.lineno}: from {node.module}" for name in names if _impure(name)][:1]
        elif isinstance(node, ast.Call) and _called(node.func) in IMPURE_CALLS:
            found.append(f"line {node.lineno}: {_called(node.func)}()")
    return found


def _impure(module: str) -> bool:
    steps = module.split(".")
    return any(".".join(steps[:depth]) in IMPURE_MODULES for depth in range(1, len(steps) + 1))


def _called(function: ast.expr) -> str | None:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else None


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_that_decides_reaches_for_nothing(path: Path) -> None:
    assert impurities(path.read_text()) == []


def test_both_layers_are_looked_at() -> None:
    assert {"domain", "api"} == {path.relative_to(PACKAGE).parts[0] for path in PURE}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path as where",
        "from time import monotonic",
        "from urllib.request import urlopen",
        "from urllib import request",
        "from datetime import datetime\ndatetime.now(tz=None)",
        "from datetime import date\nlimit = date.today()",
        "def decide():\n    import random",
        "import uuid\nuuid.uuid4()",
        "text = open('/etc/hostname').read()",
    ],
)
def test_what_reaches_outside_is_found(source: str) -> None:
    assert impurities(source)


def test_what_only_computes_is_let_through() -> None:
    assert not impurities(
        "from datetime import datetime\nfrom urllib.parse import quote\nx = datetime.fromisoformat('2026')"
    )
