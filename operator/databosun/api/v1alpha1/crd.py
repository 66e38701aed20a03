"""From the models to CustomResourceDefinitions: structural schemas, as the API server demands them.

Whatever the models say that a structural schema cannot carry is an error here, never left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from databosun.api.v1alpha1.common import GROUP, VERSION, Model
from databosun.api.v1alpha1.kind import Column, Kind
from databosun.api.v1alpha1.kinds import CATEGORY, KINDS
from databosun.api.v1alpha1.schema import VALIDATIONS, cel

Schema = dict[str, Any]

_KEPT = frozenset(
    {
        "type",
        "format",
        "enum",
        "default",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        "description",
    }
)
_INT_OR_STRING = "x-kubernetes-int-or-string"
_FREE_FORM = "x-kubernetes-preserve-unknown-fields"


def crd_documents() -> list[dict[str, Any]]:
    """All CustomResourceDefinitions, one for each kind, in the order of `KINDS`."""
    return [build_crd(kind) for kind in KINDS]


def crds_yaml() -> dict[str, str]:
    """File name -> text of every CRD; the same models always give the same bytes."""
    return {f"{document['metadata']['name']}.yaml": write_yaml(document) for document in crd_documents()}


def write_yaml(document: Mapping[str, Any]) -> str:
    """One YAML document, keys in the order given, no anchors."""
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


def build_crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(kind)},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def structural_schema(model: type[Model]) -> Schema:
    """The structural schema of one model, without references. TypeError names what cannot be said in one."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}), model.__name__)


class _Plain(yaml.SafeDumper):
    """Writes no anchors, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _root(kind: Kind) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this object's schema."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": structural_schema(kind.spec),
        },
    }
    if kind.status is not None:
        schema["properties"]["status"] = structural_schema(kind.status)
    if kind.name_limit is not None:
        schema[VALIDATIONS] = _name_rules(kind.name_limit)
    return schema


def _name_rules(limit: int) -> list[dict[str, str]]:
    """Names become parts of Jobs' names (63 characters at most), and folders beside files in the store (no dots)."""
    return [
        cel(
            f"size(self.metadata.name) <= {limit}",
            f"metadata.name: expected at most {limit} characters, since names of Jobs are made from it",
        ),
        cel(
            "!self.metadata.name.contains('.')",
            "metadata.name: expected no dots, since folders in the store are named by it",
        ),
    ]


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        **({"description": column.description} if column.description else {}),
        **({"priority": 1} if column.wide else {}),
    }


def _structural(node: Mapping[str, Any], defs: Mapping[str, Schema], path: str) -> Schema:
    node = _without_null(_resolved(node, defs, path), defs, path)
    if _INT_OR_STRING in node:
        return {key: value for key, value in node.items() if key != "title"}
    out: Schema = {}
    for key, value in node.items():
        if key in _KEPT or key.startswith("x-kubernetes-"):
            out[key] = value
        elif key == "const":
            out["enum"] = [value]
        elif key == "properties":
            out[key] = {name: _structural(child, defs, f"{path}.{name}") for name, child in value.items()}
        elif key == "items":
            out[key] = _structural(value, defs, f"{path}[]")
        elif key == "additionalProperties":
            out |= _values(value, node, defs, path)
        elif key not in {"title", "$defs"}:
            msg = f"{path}: a structural schema cannot say {key!r}"
            raise TypeError(msg)
    return _typed(out, path)


def _resolved(node: Mapping[str, Any], defs: Mapping[str, Schema], path: str) -> Schema:
    """Put what a reference names in its place; what stands beside the reference wins, rules add up."""
    if "$ref" not in node:
        return dict(node)
    target = defs[node["$ref"].removeprefix("#/$defs/")]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return _merged(_resolved(target, defs, path), beside)


def _without_null(node: Schema, defs: Mapping[str, Schema], path: str) -> Schema:
    """`anyOf [X, null]` is an optional X: absent rather than null."""
    if "anyOf" not in node or _INT_OR_STRING in node:
        return node
    members = [member for member in node["anyOf"] if member != {"type": "null"}]
    if len(members) != 1:
        msg = f"{path}: a structural schema has no unions; use optional members and a CEL rule"
        raise TypeError(msg)
    beside = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
    if node.get("default") is not None:
        beside["default"] = node["default"]
    return _merged(_resolved(members[0], defs, path), beside)


def _merged(schema: Schema, beside: Schema) -> Schema:
    both = {**schema, **beside}
    if VALIDATIONS in schema and VALIDATIONS in beside:
        both[VALIDATIONS] = [*schema[VALIDATIONS], *beside[VALIDATIONS]]
    return both


def _values(value: object, node: Mapping[str, Any], defs: Mapping[str, Schema], path: str) -> Schema:
    """Values of a map. A free-form object says so by an extension of its own."""
    if isinstance(value, Mapping):
        return {"additionalProperties": _structural(value, defs, f"{path}{{}}")}
    if value is True and node.get(_FREE_FORM):
        return {}
    msg = f"{path}: fields beyond the described ones are kept only where {_FREE_FORM} says so"
    raise TypeError(msg)


def _typed(schema: Schema, path: str) -> Schema:
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    elif schema.get("type") not in {"string", "boolean", "array", "object"}:
        msg = f"{path}: fields are strings, integers, booleans, lists or objects, not {schema.get('type')!r}"
        raise TypeError(msg)
    return schema
