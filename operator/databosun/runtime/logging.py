"""Logs as JSON lines: `ts`, `level`, `logger`, `event`, the object being worked on, then the fields of the call.

    logger.info("job created", extra={"fields": {"job": name}})

Whoever works on an object says so once (`with about(kind=…, namespace=…, name=…)`); every line below it carries that.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

# Loggers that speak of every connection or patch, and the level from which on that is of use to who runs the operator.
QUIET: Mapping[str, int] = {
    "urllib3": logging.ERROR,
    "kubernetes": logging.WARNING,
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "kopf": logging.WARNING,
}
# Keys that whoever parses the log relies on; a field of the same name is written as `field_<name>`.
RESERVED = frozenset({"ts", "level", "logger", "event", "stack"})
NOTHING: Mapping[str, Any] = MappingProxyType({})

_context: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("databosun_log_context", default=NOTHING)


@contextlib.contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Add fields to every line logged inside, in this task and those it starts. The inner value of a field wins."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """One record, one line of JSON; what JSON cannot hold is shown as text."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        for source in (_context.get(), fields if isinstance(fields, Mapping) else NOTHING):
            line.update({f"field_{key}" if key in RESERVED else key: value for key, value in source.items()})
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process as JSON lines to `stream` (standard error), and quiet the libraries.

    Replaces handlers that are there: called twice, or after a library has set its own, it prints no line twice.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(least, root.level))
