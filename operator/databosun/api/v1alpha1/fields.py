"""Field types of custom resources, each with its bounds and the sentence that a wrong value is refused with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from databosun.api.quantities import DURATION_PATTERN, QUANTITY_PATTERN
from databosun.api.v1alpha1.cron import CRON_SHAPE
from databosun.api.v1alpha1.schema import VALIDATIONS, cel, checks, found_instead, literal, matches


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _head(limit: int) -> Callable[[object], object]:
    """Shorten prose that is too long: a status must be writable whatever a tool printed."""

    def shorten(value: object) -> object:
        return f"{value[: limit - 1]}…" if isinstance(value, str) and len(value) > limit else value

    return shorten


def _tail(limit: int) -> Callable[[object], object]:
    """Shorten a log from its start: what went wrong stands at the end."""

    def shorten(value: object) -> object:
        return f"…{value[1 - limit :]}" if isinstance(value, str) and len(value) > limit else value

    return shorten


def first(limit: int) -> BeforeValidator:
    """Keep the first items of a list that is too long."""
    return BeforeValidator(lambda value: value[:limit] if isinstance(value, (list, tuple)) else value)


def last(limit: int) -> BeforeValidator:
    """Keep the last items of a list that is too long."""
    return BeforeValidator(lambda value: value[-limit:] if isinstance(value, (list, tuple)) else value)


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _whole_seconds(value: datetime) -> datetime:
    return _aware(value).replace(microsecond=0)


def _rfc3339(value: datetime) -> str:
    return _whole_seconds(value).strftime("%Y-%m-%dT%H:%M:%SZ")


Instant = Annotated[datetime, AfterValidator(_aware)]
"""A moment in UTC, as exact as it was measured."""

Time = Annotated[datetime, AfterValidator(_whole_seconds), PlainSerializer(_rfc3339, when_used="json")]
"""A moment in UTC to the second, as Kubernetes writes times: what is read back equals what was written."""

_DNS = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_KEY = r"^[-._a-zA-Z0-9]+$"
_LABEL = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_CRON = r"^\S+ +\S+ +\S+ +\S+ +\S+$"
_ZONE = r"^[A-Za-z0-9_+\-/]+$"
_DURATION = "a duration such as 90d or 1h30m (units y, w, d, h, m, s, ms; the largest first)"
_QUANTITY = "a size such as 10Gi or 500M"

Name = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=_DNS),
    matches(_DNS, "the name of a Kubernetes object (lower case letters, digits, - and .)"),
]
ShortName = Annotated[
    str,
    Field(min_length=1, max_length=40, pattern=_DNS_LABEL),
    matches(_DNS_LABEL, "a short name (lower case letters, digits and -)"),
]
SecretKey = Annotated[
    str, Field(min_length=1, max_length=253, pattern=_KEY), matches(_KEY, "a key of a Secret (letters, digits, - . _)")
]
Duration = Annotated[
    str, Field(min_length=2, max_length=32, pattern=DURATION_PATTERN), matches(DURATION_PATTERN, _DURATION)
]
PositiveDuration = Annotated[Duration, checks(found_instead("self.matches('[1-9]')", "a duration longer than nothing"))]
Quantity = Annotated[
    str,
    BeforeValidator(_text),
    Field(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            VALIDATIONS: [
                cel(
                    f"type(self) == int ? self > 0 : self.matches({literal(QUANTITY_PATTERN)}) &&"
                    f" self.matches('[1-9]')",
                    f"expected {_QUANTITY}, more than nothing",
                )
            ],
        }
    ),
]
Cron = Annotated[
    str,
    Field(min_length=9, max_length=100, pattern=_CRON),
    matches(CRON_SHAPE, "five cron fields (minute, hour, day of month, month, day of week) such as 0 2 * * *"),
]
TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=_ZONE),
    # An unknown zone is an error of the evaluation, which the API server reports together with the message.
    checks(
        cel(
            "self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
            "expected an IANA time zone such as Europe/Berlin or UTC",
        )
    ),
]
Text = Annotated[str, Field(max_length=4096)]

LabelValue = Annotated[
    str,
    Field(max_length=63, pattern=_LABEL),
    matches(_LABEL, "a label's value (letters, digits, - _ . and at most 63 of them)"),
]
KEYS = checks(
    cel(
        f"self.all(key, key.matches({literal(_LABEL_KEY)}))",
        "expected keys such as team or example.com/team (an optional DNS prefix, then letters, digits, - _ .)",
    )
)
"""The keys of labels and annotations."""

Labels = Annotated[dict[str, LabelValue], Field(max_length=32), KEYS]

Identifier = Annotated[str, Field(max_length=1024)]
"""A value in a status that means something only as a whole."""

Line = Annotated[str, Field(max_length=512), BeforeValidator(_head(512))]
"""A short text in a status; cut where too long."""

Message = Annotated[str, Field(max_length=4096), BeforeValidator(_head(4096))]
"""Prose in a status; cut where too long."""

LogTail = Annotated[str, Field(max_length=16384), BeforeValidator(_tail(16384))]
"""The end of a log."""
