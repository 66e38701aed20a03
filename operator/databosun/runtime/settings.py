"""The operator's settings: environment variables `DATABOSUN_*`, read once at the start, checked, and frozen.

A variable's name is the field's path in capitals: `lease.name` is `DATABOSUN_LEASE_NAME`. Empty means not set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, Json, TypeAdapter, ValidationError

from databosun.api.quantities import parse_duration
from databosun.domain.errors import UserFault

PREFIX: Final = "DATABOSUN_"
BAD_SETTINGS: Final = "BadSettings"


def _items(value: object) -> object:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _span(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Label = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
ObjectName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Span = Annotated[timedelta, BeforeValidator(_span), Field(gt=timedelta(0))]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=0, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """The Lease that one operator at a time holds."""

    namespace: Label = "default"
    """Where the Lease is."""
    name: ObjectName = "databosun"
    """Its name: one per installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """How hard the API server may be pressed."""

    write_qps: Annotated[float, Field(gt=0, le=10_000)] = 300.0
    """Writes per second, once the burst is used up."""
    write_burst: Annotated[int, Field(ge=1, le=100_000)] = 600
    """Writes at once after a quiet time."""
    threads: Annotated[int, Field(ge=1, le=200)] = 20
    """Requests on their way at once."""
    connect_timeout: Seconds = 5.0
    """Seconds for a connection."""
    read_timeout: Seconds = 30.0
    """Seconds of silence in an answer."""
    total_timeout: Seconds = 60.0
    """Seconds for a whole request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """The Jobs' pods."""

    images: Json[dict[str, dict[str, str]]] = field(default_factory=dict)
    """JSON: the image by engine and major version, `{"PostgreSQL": {"16": "registry/runner:tag"}}`."""
    for_storage: str = "PostgreSQL"
    """The engine whose newest image does the work that touches storage alone; any other's where it has none."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls them."""
    image_pull_secrets: Annotated[tuple[ObjectName, ...], BeforeValidator(_items)] = ()
    """Secrets with registry credentials, in the databases' namespaces; separated by commas."""
    fixed_uid: bool = True
    """False: the platform chooses uid, gid and fsGroup (OpenShift)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings."""

    namespaces: Annotated[tuple[Label, ...], BeforeValidator(_items)] = ()
    """Namespaces to serve, separated by commas; none: the whole cluster."""
    cluster_id: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    """Marks everything in object storage as this cluster's. Empty: the uid of the namespace kube-system."""
    pod_name: ObjectName = "operator"
    """Who holds the Lease and posts Events."""
    workers: Annotated[int, Field(ge=1, le=200)] = 20
    """Objects reconciled at once."""
    resync: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(minutes=10)
    """How often all objects are listed again, give or take a fifth."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """The least level that is logged."""
    metrics_host: str | None = None
    """Address of /metrics, /healthz and /readyz. None: all of the pod's."""
    metrics_port: Port = 8080
    """Their port. 0: any free one."""
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    runner: RunnerSettings = field(default_factory=RunnerSettings)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`. UserFault(BadSettings) names every variable that is wrong, and why."""
    raw = _nested(Settings, PREFIX, environment)
    try:
        settings = TypeAdapter(Settings).validate_python(raw)
    except ValidationError as error:
        faults = "; ".join(sorted({_fault(dict(one), environment) for one in error.errors()}))
        raise UserFault(BAD_SETTINGS, faults) from error
    if settings.namespaces and not settings.cluster_id:
        message = (
            f"{PREFIX}CLUSTER_ID is required with {PREFIX}NAMESPACES: without rights on the whole cluster the operator "
            f"cannot read the uid of the namespace kube-system"
        )
        raise UserFault(BAD_SETTINGS, message)
    return settings


def variables(group: Any = Settings, prefix: str = PREFIX) -> tuple[str, ...]:
    """The names of all variables that `load_settings` reads."""
    names: list[str] = []
    for one in dataclasses.fields(group):
        name = prefix + one.name.upper()
        nested = _group(one)
        names += variables(nested, name + "_") if nested else [name]
    return tuple(names)


def _group(one: dataclasses.Field[Any]) -> type | None:
    factory = one.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None


def _nested(group: Any, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in dataclasses.fields(group):
        name = prefix + one.name.upper()
        if nested := _group(one):
            found[one.name] = _nested(nested, name + "_", environment)
        elif environment.get(name):
            found[one.name] = environment[name]
    return found


def _fault(one: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    path = [str(part) for part in one["loc"]]
    names = (PREFIX + "_".join(path[:length]).upper() for length in (1, 2))
    name = next((name for name in names if name in environment), PREFIX + "_".join(path).upper())
    return f"{name} is {environment.get(name, '')!r}: {one['msg']}"
