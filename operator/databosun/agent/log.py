"""JSON lines on standard output: `ts`, `level`, `event` and fields. One line is one write, so threads never mix."""

from __future__ import annotations

import json
import threading
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from databosun.agent.redact import Redactor

MAX_FIELD = 6000  # keeps a line below the 16 KiB at which container runtimes split it


class Log:
    """Where the agent speaks; everything passes the redactor."""

    def __init__(self, out: TextIO, redactor: Redactor) -> None:
        self._out = out
        self._lock = threading.Lock()
        self.redactor = redactor

    def info(self, event: str, **fields: Any) -> None:
        """Something happened."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something is not as it should be, and work goes on."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something ends the run."""
        self._write("error", event, fields)

    def exception(self, event: str, error: BaseException) -> None:
        """A failure with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self._write(
            "error",
            event,
            {"error": f"{type(error).__name__}: {error}", "traceback": self.redactor.text(trace)[-MAX_FIELD:]},
        )

    def document(self, event: str, document: dict[str, Any]) -> None:
        """A document for machines, its lists and objects as they are, redacted."""
        self._emit("info", event, self.redactor.document(document))

    def chunk(self, event: str, number: int, of: int, data: str) -> None:
        """One numbered piece of a document that is redacted already."""
        self._emit("info", event, {"n": number, "of": of, "data": data})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self._emit(level, event, {key: self._mask(value) for key, value in fields.items()})

    def _emit(self, level: str, event: str, fields: dict[str, Any]) -> None:
        line = {"ts": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "event": event, **fields}
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self._lock:
            self._out.write(text)
            self._out.flush()

    def _mask(self, value: Any) -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value
        text = self.redactor.text(value if isinstance(value, str) else json.dumps(value, default=str))
        return text if len(text) <= MAX_FIELD else f"{text[: MAX_FIELD - 1]}…"
