"""Prometheus' own tool, and what the operator's metrics are called."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from databosun.runtime.families import OF_THE_OPERATOR
from databosun.runtime.objectfamilies import OF_OBJECTS


def promtool(*arguments: str | Path) -> str:
    """Run promtool; fails the test, with its own words, where it fails."""
    program = shutil.which("promtool")
    assert program, "promtool is not installed: apt-get install prometheus"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metrics_in(expression: str) -> set[str]:
    """The names of the series that a PromQL expression reads."""
    without_texts = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:databosun|process)_\w+", without_texts))


def declared_metrics() -> dict[str, tuple[str, ...]]:
    """Every series name of the operator, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for family in (*OF_OBJECTS, *OF_THE_OPERATOR):
        if family.kind == "histogram":
            found |= {f"{family.name}_{part}": family.labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = (*family.labels, "le")
        else:
            found[family.name] = family.labels
    return found
