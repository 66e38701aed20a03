"""Every reason that the code gives is known to the reference, with what to do about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from databosun.api.v1alpha1.reasons import WHAT_TO_DO, Reason
from databosun.api.v1alpha1.reasons.storage import StorageReasons

PACKAGE = Path(__file__).resolve().parents[3] / "operator" / "databosun"
FAULTS = {"UserFault", "WorldFault", "SafetyStop"}
WAITS = {"Blocked", "Doomed"}
FIRST = FAULTS | WAITS | {"Ending", "PostEvent"}
# Why retention keeps a backup; and what the command line tells its user, who reads the message at once.
NOT_IN_A_STATUS = ("domain/claims.py", "cli/")
WORD = re.compile(r"[A-Z][A-Za-z0-9]+")


def given_reasons(source: str) -> Iterator[str]:
    """The reasons in a module's source: given to a fault, a condition or an Event, in a table or a StrEnum of them."""
    for node in ast.walk(ast.parse(source)):
        for one in _candidates(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and WORD.fullmatch(one.value):
                yield one.value


def _candidates(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=[ast.JoinedStr() as made, *_]) if name in WAITS:
            return [ast.Constant(ast.unparse(made).strip("f'").partition("{")[0])]  # no reference has it
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in FIRST:
            return [first]
        case ast.Call(func=ast.Name(id="Wanted"), args=[_, _, third, *_]):
            return [third]
        case ast.Call(args=elements) | ast.Tuple(elts=elements):
            names = [one.id if isinstance(one, ast.Name) else None for one in elements]
            return [after for name, after in zip(names, elements[1:], strict=False) if name in FAULTS]
        case ast.keyword(arg="reason", value=value):
            return [value]
        case ast.ClassDef(name=name, body=body) if name.endswith("Reason"):
            return [one.value for one in body if isinstance(one, ast.Assign)]
        case ast.Assign(targets=[ast.Name(id="REASON")], value=value):
            return [value]
    return []


def test_every_reason_given_is_explained() -> None:
    """Put it into a list of `api/v1alpha1/reasons/` with what to do, then run `hack/crds/crds sync`."""
    unknown = {
        f"{path.relative_to(PACKAGE)}: {reason}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(NOT_IN_A_STATUS)
        for reason in given_reasons(path.read_text())
        if reason not in set(Reason)
    }
    assert not sorted(unknown)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise UserFault("NoSuchThing", "text")', ["NoSuchThing"]),
        ('wanted(False, reason="Gone")', ["Gone"]),
        ('class Refusal(Fault):\n    REASON = "Refused"', ["Refused"]),
        ('class ToolReason(StrEnum):\n    BROKEN = "ToolBroken"', ["ToolBroken"]),
        ('Wanted(ConditionType.READY, False, "NotYet", "text")', ["NotYet"]),
        ('rule("words", UserFault, "Misspelt", "advice")', ["Misspelt"]),
        ('TABLE = (("42501", WorldFault, "Denied"),)', ["Denied"]),
        ('Blocked(f"WaitingFor{who}", "text")', ["WaitingFor"]),
        ('print("NotAReason")', []),
        ("raise UserFault(reason, text)", []),
    ],
)
def test_reasons_are_found_in_the_source(source: str, found: list[str]) -> None:
    assert list(given_reasons(source)) == found


def test_a_reason_is_one_word_and_says_what_to_do() -> None:
    assert set(WHAT_TO_DO) == set(Reason)
    assert set(Reason.__members__) == {reason.name for reason in Reason}, "two reasons with one word"
    assert not [reason for reason in Reason if not WORD.fullmatch(reason)]
    assert not [reason for reason, text in WHAT_TO_DO.items() if not re.fullmatch(r"[A-Z].*\.", text)]


def test_a_reason_is_asked_for_by_the_enumeration_alone() -> None:
    assert Reason.STORAGE_FULL in set(Reason)
    with pytest.raises(AttributeError, match="ask Reason, not StorageReasons: StorageFull"):
        _ = StorageReasons.STORAGE_FULL
