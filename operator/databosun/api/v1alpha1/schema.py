"""What a type says to the API server beyond its JSON schema: CEL rules and the `x-kubernetes-*` extensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"


def cel(rule: str, message: str, **more: str) -> dict[str, str]:
    """One `x-kubernetes-validations` rule; `messageExpression` may add to the message what was found."""
    return {"rule": rule, "message": message, **more}


def rules(*validations: dict[str, str], **more: Any) -> ConfigDict:
    """Model configuration that carries CEL rules and other `x-kubernetes-*` keys into the schema."""
    extra = {**({VALIDATIONS: list(validations)} if validations else {}), **more}
    return ConfigDict(json_schema_extra=extra)


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """What a type adds to its schema, rules of several adding up, and the keywords that its rules stand for."""

    keys: tuple[tuple[str, Any], ...] = ()
    validations: tuple[tuple[tuple[str, str], ...], ...] = ()
    replaces: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = {**handler(core), **dict(self.keys)}
        for keyword in self.replaces:
            del schema[keyword]
        if self.validations:
            schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), *(dict(rule) for rule in self.validations)]
        return schema


def checks(*validations: dict[str, str]) -> Extra:
    """CEL rules on a type."""
    return Extra(validations=tuple(tuple(rule.items()) for rule in validations))


def matches(pattern: str, expected: str) -> Extra:
    """A field's pattern as a rule that says what was expected and what was found.

    It takes the place of `pattern` in the schema: the API server refuses that one with the bare expression, and then
    evaluates no rule at all.
    """
    rule = found_instead(f"self.matches({literal(pattern)})", expected)
    return Extra(validations=(tuple(rule.items()),), replaces=("pattern",))


def found_instead(rule: str, expected: str) -> dict[str, str]:
    """A rule on a text whose message quotes what was found."""
    return cel(rule, f"expected {expected}", messageExpression=f"{literal(f'expected {expected}, found ')} + self")


def literal(text: str) -> str:
    """A text as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def one_each(*keys: str) -> Extra:
    """A list whose items are told apart by `keys`: the API server refuses doubles, server-side apply merges items."""
    return Extra(keys=(("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", list(keys))))


UNIQUE = Extra(keys=(("x-kubernetes-list-type", "set"),))
"""A list of scalars without doubles."""

WHOLE = Extra(keys=(("x-kubernetes-list-type", "atomic"),))
"""A list that one writer owns as a whole."""

FREE_FORM = Extra(keys=(("x-kubernetes-preserve-unknown-fields", True),))
"""An object whose fields are not Databosun's to describe."""
