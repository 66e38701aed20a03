"""Where a person's key stands in names of keys: in one place, to one end, whatever it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.v1alpha1.dataexport import ExportRule
from databosun.api.v1alpha1.erasurerequest import ErasureRule
from databosun.domain.errors import UserFault
from databosun.domain.keypatterns import PatternFault
from databosun.domain.keyrules import demand_places
from databosun.domain.subjectpatterns import read_subject_pattern

PATTERNS = [
    "user:$(subject):*",
    "cart:{$(subject)}:items",
    "$(subject)",
    "s?[ab]\\*:$(subject)\\*x*",
    "$(subject)\u00fc?",
]


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("user:$(subject):*", "user:42:cart", b"42"),
        ("user:$(subject):*", "user:42:", b"42"),
        ("user:$(subject):*", "user:42:cart:1", b"42"),
        ("user:$(subject):*", "user:42", None),
        ("user:$(subject):*", "user::cart", None),
        ("user:$(subject):*", "xuser:42:cart", None),
        ("user:$(subject)", "user:42:cart", b"42:cart"),
        ("cart:{$(subject)}:items", "cart:{42}:items", b"42"),
        ("cart:{$(subject)}:items", "cart:{42}:items2", None),
        ("s?[ab]:$(subject)", "sxa:42", b"42"),
        ("s?[ab]:$(subject)", "sxc:42", None),
        ("\\*\\[:$(subject)\\?", "*[:42?", b"42"),
        ("$(subject)\u00fc:*", "42\u00fc:x", b"42"),
    ],
)
def test_a_name_is_read_in_one_way(text: str, name: str, found: bytes | None) -> None:
    assert read_subject_pattern(text).subject_in(name.encode()) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("user:*", "it is there 0 times"),
        ("$(subject):$(subject)", "it is there 2 times"),
        ("user:[$(subject)]", "it is there 0 times"),
        ("user:\\$(subject)", "it is there 0 times"),
        ("*:$(subject)", "a \\* stands before"),
        ("user:$(subject)*", "what matches several"),
        ("user:$(subject)?", "what matches several"),
        ("user:$(subject)[0-9]", "what matches several"),
        ("user:?$(subject)", "what matches several"),
        ("user:[0-9]$(subject)", "what matches several"),
        ("user:$(subject):[", "not closed"),
    ],
)
def test_a_pattern_that_could_be_read_in_several_ways_is_refused(text: str, words: str) -> None:
    with pytest.raises(PatternFault, match=words):
        read_subject_pattern(text)
    rule = ErasureRule.model_validate({"name": "one", "keyPattern": text, "action": {"type": "Delete"}})
    with pytest.raises(UserFault, match=r"spec.rules\[0\].keyPattern is ") as caught:
        demand_places([rule], "Redis", keyed=True)
    assert caught.value.reason == "InvalidSpec"


@given(st.sampled_from(PATTERNS), st.text(min_size=1), st.text(min_size=1))
def test_nobodys_key_is_found_in_the_name_of_another(text: str, one: str, other: str) -> None:
    """Whatever keys are made of."""
    pattern = read_subject_pattern(text)
    try:
        mine, theirs = (pattern.read_subject(key) for key in (one, other))
    except (PatternFault, UnicodeEncodeError):
        return
    name = pattern.text.replace("$(subject)", "\0").replace("?", "a").replace("[ab]", "a").replace("\\*", "\1")
    name = name.replace("*", "more").replace("\1", "*")
    for key, other_key in ((mine, theirs), (theirs, mine)):
        before, _, after = name.encode().partition(b"\0")
        whole = before + key + after
        assert pattern.subject_in(whole) == key
        assert pattern.scan.matches(whole)
        assert (pattern.subject_in(whole) == other_key) == (key == other_key)


def test_a_key_with_the_character_that_ends_it_is_refused() -> None:
    with pytest.raises(PatternFault, match="has ':' in it") as caught:
        read_subject_pattern("user:$(subject):*").read_subject("ada:1815")
    assert "ada" not in str(caught.value)


def test_tables_are_for_engines_with_tables_and_keys_for_those_with_keys() -> None:
    table = ExportRule.model_validate({"name": "one", "table": "users", "column": "mail"})
    keys = ExportRule.model_validate({"name": "one", "keyPattern": "user:$(subject)"})
    demand_places([table], "MongoDB", keyed=False)
    demand_places([keys], "Redis", keyed=True)
    for asked, keyed, words in ((table, True, "say keyPattern in its place"), (keys, False, "name a table")):
        with pytest.raises(UserFault, match=words) as caught:
            demand_places([asked], "some engine", keyed=keyed)
        assert caught.value.reason == "ActionUnsupported"
