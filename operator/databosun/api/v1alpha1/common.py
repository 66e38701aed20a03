"""What several kinds share: field types with their bounds, references, the pod template."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from databosun.api.quantities import DURATION_PATTERN, QUANTITY_PATTERN

GROUP = "databosun.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Model(BaseModel):
    """Base of all parts of custom resources: camelCase outside, frozen, unknown fields ignored (the API server prunes them)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def dump(self) -> dict[str, Any]:
        """The JSON form with camelCase keys and without unset (None) fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel(rule: str, message: str, **more: str) -> dict[str, str]:
    """One `x-kubernetes-validations` rule."""
    return {"rule": rule, "message": message, **more}


def rules(*validations: dict[str, str], **more: Any) -> ConfigDict:
    """Model configuration that carries CEL rules and other `x-kubernetes-*` keys into the schema."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": list(validations), **more})


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ShortName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Duration = Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION_PATTERN)]
Quantity = Annotated[
    str,
    BeforeValidator(_text),
    Field(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": 32, "pattern": QUANTITY_PATTERN}),
]
Cron = Annotated[str, Field(min_length=9, max_length=100, pattern=r"^\S+ +\S+ +\S+ +\S+ +\S+$")]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+\-/]+$")]
Text = Annotated[str, Field(max_length=4096)]
Time = datetime


class LocalRef(Model):
    """An object of the same namespace, by name."""

    name: Name


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key inside the Secret.")


class LabelSelector(Model):
    """Selects objects by equal labels."""

    match_labels: dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=63)]] = Field(
        min_length=1, max_length=16, description="All of these labels must be there with these values."
    )


class EnvVar(Model):
    """A literal environment variable of the Job's container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: Annotated[str, Field(max_length=4096)]


class Scratch(Model):
    """Working space of a Job."""

    size: Quantity = Field(default="10Gi", description="Upper limit of the scratch volume.")
    storage_class_name: Name | None = Field(
        default=None, description="Set: an ephemeral claim of this class; else an emptyDir on the node."
    )


class PodTemplate(Model):
    """What may be said about the Jobs' pods; everything else is Databosun's own."""

    resources: dict[str, Any] | None = Field(default=None, description="Requests and limits of the agent's container.")
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(default=None, max_length=32)
    tolerations: list[dict[str, Any]] | None = Field(default=None, max_length=32)
    affinity: dict[str, Any] | None = None
    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(default=None, max_length=32)
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] | None = Field(default=None, max_length=32)
    priority_class_name: Name | None = None
    image_pull_secrets: list[LocalRef] | None = Field(default=None, max_length=8)
    env: list[EnvVar] | None = Field(default=None, max_length=64, description="Literal values only.")
    service_account_name: Name | None = Field(default=None, description="For workload identity; its token is not mounted.")
    scratch: Scratch | None = None
