"""The shape of a cron expression as one regular expression: five fields, each within its own range.

What it accepts, the schedule's parser (cronsim) accepts too, but for ranges that run backwards and days that
never come.
"""

from __future__ import annotations

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _field(value: str, *others: str) -> str:
    """One field: a list of stars, values and ranges, each with an optional step; `others` stand alone in the list."""
    stepped = rf"(\*|({value})(-({value}))?)(/0*[1-9][0-9]?)?"
    item = "|".join((stepped, *others))
    return f"({item})(,({item}))*"


_FIELDS = (
    _field("[0-5]?[0-9]"),
    _field("[01]?[0-9]|2[0-3]"),
    _field("0?[1-9]|[12][0-9]|3[01]", "(?i:LW?)"),
    _field(f"0?[1-9]|1[0-2]|(?i:{_MONTHS})"),
    _field(f"0?[0-7]|(?i:{_DAYS})", "[0-7](?i:L)", f"([0-7]|(?i:{_DAYS}))#[1-5]"),
)

CRON_SHAPE = f"^{' +'.join(_FIELDS)}$"
"""For RE2 (CEL's `matches`) and Python's `re` alike."""
