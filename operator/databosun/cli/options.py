"""Options that several commands share: they read like kubectl's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from databosun.api.quantities import parse_duration


class Output(StrEnum):
    """How a command answers."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


def _namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    from databosun.cli.complete import names_of

    return names_of("Namespace")(ctx, incomplete)


Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        autocompletion=_namespaces,
        help="Namespace to look in. Default: that of the context.",
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")]
OutputFormat = Annotated[Output, typer.Option("--output", "-o", help="How to answer.")]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Kubeconfig to use. Default: $KUBECONFIG, else ~/.kube/config."),
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig. Default: its current one.")
]


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster and which part of it a command is about."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None
    all_namespaces: bool = False


class Type(StrEnum):
    """Types of backups, as `BackupType` has them: said again here, since that one takes long to import."""

    FULL = "Full"
    INCREMENTAL = "Incremental"
    DIFFERENTIAL = "Differential"


class Depth(StrEnum):
    """Levels of drills, as `Level` has them: said again here, since that one takes long to import."""

    ARTIFACT = "Artifact"
    RESTORE = "Restore"
    DEEP = "Deep"
    APPLICATION = "Application"


class Speed(StrEnum):
    """Speeds of thawing, as `ThawSpeed` has them: said again here, since that one takes long to import."""

    EXPEDITED = "Expedited"
    STANDARD = "Standard"
    BULK = "Bulk"


class ReportForm(StrEnum):
    """Forms of a report: said again here, since what makes them takes long to import."""

    HTML = "html"
    PDF = "pdf"
    JSON = "json"
    MD = "md"


def span(text: str) -> timedelta:
    """Read a duration of the command line."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Timeout = Annotated[
    timedelta | None,
    typer.Option("--timeout", metavar="DURATION", parser=span, help="With --wait: how long to wait, such as 2h."),
]
StartWithin = Annotated[
    timedelta,
    typer.Option(
        "--start-within",
        metavar="DURATION",
        parser=span,
        help="Give up where it could not start for so long (at most 24h).",
    ),
]
