"""What several kinds share: the base model, references, the pod template."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.fields import KEYS, Identifier, Labels, Name, Quantity, SecretKey
from databosun.api.v1alpha1.schema import FREE_FORM, VALIDATIONS, WHOLE, cel, checks, matches, one_each, rules

GROUP = "databosun.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Model(BaseModel):
    """Base of all parts of custom resources: camelCase outside, frozen; unknown fields are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def dump(self) -> dict[str, Any]:
        """The JSON form with camelCase keys and without unset (None) fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


REFERENCE = {"x-kubernetes-map-type": "atomic"}
"""A reference is one value to server-side apply."""


class LocalRef(Model):
    """An object of the same namespace, by name."""

    model_config = rules(**REFERENCE)
    name: Name = Field(description="Its name.")


class SecretKeyRef(Model):
    """One key of a Secret of the same namespace."""

    model_config = rules(**REFERENCE)
    name: Name = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key inside the Secret.")


class LabelSelector(Model):
    """Selects objects by equal labels."""

    model_config = rules(**REFERENCE)
    match_labels: Labels = Field(
        min_length=1, max_length=16, description="All of these labels must be there with these values."
    )


class Sized(Model):
    """A number of bytes, beside it the same for people."""

    bytes: int = Field(description="Size in bytes.")
    human: Identifier = Field(default="", description="The same for people, such as 1.4GiB; follows from bytes.")

    @model_validator(mode="before")
    @classmethod
    def _for_people(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("human") and isinstance(data.get("bytes"), int):
            return {**data, "human": humanize_bytes(data["bytes"])}
        return data


_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_OURS = checks(
    cel(
        "self.all(key, !key.startsWith('databosun.io/') && !key.startsWith('batch.kubernetes.io/') && key !="
        " 'app.kubernetes.io/managed-by')",
        "keys under databosun.io/ and batch.kubernetes.io/ and app.kubernetes.io/managed-by cannot be set: Databosun"
        " needs them",
    )
)
_AMOUNTS: dict[str, Any] = {
    "type": "object",
    "maxProperties": 8,
    "additionalProperties": {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 32,
        VALIDATIONS: [
            cel(
                "type(self) == int ? self >= 0 : isQuantity(self) && !self.startsWith('-')",
                "expected a quantity such as 500m, 2 or 1Gi",
            )
        ],
    },
}
_RESOURCES: dict[str, Any] = {
    "type": "object",
    VALIDATIONS: [
        cel(
            "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) ||"
            " quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
            "no request may exceed its limit",
        )
    ],
    "properties": {
        "requests": {
            **_AMOUNTS,
            "description": "What the scheduler sets aside, by resource: cpu, memory, ephemeral-storage.",
        },
        "limits": {
            **_AMOUNTS,
            "description": "What the container may not exceed, by resource: cpu, memory, ephemeral-storage.",
        },
    },
}
_TOLERATION: dict[str, Any] = {
    "type": "object",
    "properties": {
        "key": {
            "type": "string",
            "maxLength": 316,
            "description": "Key of the taint; absent with Exists: every taint.",
        },
        "operator": {"type": "string", "enum": ["Exists", "Equal"], "description": "Absent: Equal."},
        "value": {"type": "string", "maxLength": 63, "description": "Value of the taint; with Equal only."},
        "effect": {
            "type": "string",
            "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
            "description": "Absent: every effect.",
        },
        "tolerationSeconds": {
            "type": "integer",
            "format": "int64",
            "description": "How long the taint is tolerated; with NoExecute only.",
        },
    },
    VALIDATIONS: [
        cel("!has(self.operator) || self.operator != 'Exists' || !has(self.value)", "value is for operator Equal only"),
        cel("has(self.key) || (has(self.operator) && self.operator == 'Exists')", "key is required by operator Equal"),
        cel(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds is for effect NoExecute only",
        ),
    ],
}
Toleration = Annotated[dict[str, Any], WithJsonSchema(_TOLERATION)]


class EnvVar(Model):
    """A literal environment variable of the Job's container."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=128, pattern=_VARIABLE),
        matches(_VARIABLE, "the name of a variable (letters, digits and _)"),
    ] = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=4096)] = Field(
        description="Its value, taken as it stands; references to Secrets or other variables are not resolved."
    )


class Scratch(Model):
    """Working space of a Job, for techniques that cannot stream."""

    size: Quantity = Field(
        default="10Gi",
        description="Upper limit of the scratch volume; a run that would need more is refused before it starts.",
    )
    storage_class_name: Name | None = Field(
        default=None, description="Set: an ephemeral claim of this class; absent: an emptyDir on the node."
    )


class PodTemplate(Model):
    """What may be said about the Jobs' pods; everything else is Databosun's own."""

    resources: Annotated[dict[str, Any], WithJsonSchema(_RESOURCES)] | None = Field(
        default=None, description="Requests and limits of the agent's container, as in any pod."
    )
    node_selector: Labels | None = Field(default=None, description="Labels that a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32), WHOLE] | None = Field(
        default=None, description="Taints of nodes that the pods accept, as in any pod."
    )
    affinity: Annotated[dict[str, Any], FREE_FORM] | None = Field(
        default=None, description="Node and pod affinity, as in any pod (kubectl explain pod.spec.affinity)."
    )
    labels: Annotated[Labels, _OURS] | None = Field(default=None, description="Labels to add to the pods.")
    annotations: (
        Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32), KEYS, _OURS] | None
    ) = Field(default=None, description="Annotations to add to the pods, such as those of a service mesh.")
    priority_class_name: Name | None = Field(default=None, description="The pods' PriorityClass.")
    image_pull_secrets: Annotated[list[LocalRef], Field(max_length=8), one_each("name")] | None = Field(
        default=None, description="Secrets of type kubernetes.io/dockerconfigjson for the runner's registry."
    )
    env: Annotated[list[EnvVar], Field(max_length=64), one_each("name")] | None = Field(
        default=None, description="Environment variables with literal values, such as proxy settings."
    )
    service_account_name: Name | None = Field(
        default=None,
        description="ServiceAccount for workload identity towards the store; its Kubernetes token is not mounted.",
    )
    scratch: Scratch | None = Field(default=None, description="Working space. Absent: an emptyDir of at most 10Gi.")
