"""The metrics of objects, declared once: what is said of each comes from its status alone."""

from __future__ import annotations

from typing import Final

from databosun.runtime.families import Family
from databosun.runtime.lifecyclefamilies import OF_LIFECYCLES
from databosun.runtime.protectionfamilies import OF_PROTECTION
from databosun.runtime.provingfamilies import OF_PROVING

STALLED: Final = Family(
    "databosun_object_stalled",
    "gauge",
    "1 for each object whose condition Stalled is True: a person must act. No series otherwise.",
    ("kind", "namespace", "name", "reason"),
)

OF_OBJECTS: Final = (*OF_PROTECTION, *OF_PROVING, *OF_LIFECYCLES, STALLED)
