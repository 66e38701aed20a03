"""Progress is said at most every five seconds."""

from __future__ import annotations

import io
import json

from databosun.agent.log import Log
from databosun.agent.progress import Progress
from databosun.agent.redact import Redactor


def test_one_line_every_five_seconds_whatever_is_counted() -> None:
    out, now = io.StringIO(), [100.0]
    progress = Progress(Log(out, Redactor()), monotonic=lambda: now[0])
    progress.stage("base", total_bytes=1000)
    for _ in range(100):
        now[0] += 0.11
        progress.add(10)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["stage"], line["bytes"], line["total"]) for line in lines] == [
        ("base", 0, 1000),
        ("base", 460, 1000),
        ("base", 920, 1000),
    ]
    assert all(line["event"] == "progress" for line in lines)
