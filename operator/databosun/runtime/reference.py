"""Writes the page on metrics: `python -m databosun.runtime.reference > docs/reference/metrics.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from databosun.runtime.families import OF_THE_OPERATOR, Family
from databosun.runtime.objectfamilies import OF_OBJECTS

_HEAD = """# Metrics

<!-- Generated from operator/databosun/runtime/families.py and objectfamilies.py. Do not edit. -->

The operator serves these at `/metrics` on its metrics port, together with the process metrics of the Prometheus client
(`process_resident_memory_bytes` and the like). A standby replica serves them too: `databosun_leader` tells it apart.

What is said of an object is read from its status, so it is right from the first scrape after a restart, and its series
end when the object goes. Counters of the operator itself start at 0 with each process.

Several metrics carry the label `namespace`, that of the object. Prometheus keeps it as it is with `honorLabels: true`,
as the chart's ServiceMonitor has it; without, it becomes `exported_namespace`.
"""


def reference() -> str:
    """The page, in Markdown."""
    parts = (_HEAD, "## Of objects\n", _table(OF_OBJECTS), "## Of the operator\n", _table(OF_THE_OPERATOR))
    return "\n".join(parts)


def _table(families: Iterable[Family]) -> str:
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
