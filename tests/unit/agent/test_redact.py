"""No known secret leaves the agent, in whatever form."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.agent.log import Log
from databosun.agent.redact import MASK, SHORTEST, Redactor

secrets = st.text(min_size=SHORTEST, max_size=40).filter(lambda text: text.strip() == text and text not in MASK)
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "quoted": lambda text: quote(text, safe=""),
    "quoted plus": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
}


@pytest.mark.parametrize("form", list(FORMS))
@given(secret=secrets.filter(lambda text: text.isprintable()), before=st.text(max_size=9), after=st.text(max_size=9))
def test_every_form_of_a_secret_is_masked(form: str, secret: str, before: str, after: str) -> None:
    shown = FORMS[form](secret)
    masked = Redactor([secret]).text(f"{before}\n{shown}\n{after}")
    assert f"\n{MASK}\n" in masked
    if shown not in before + after + MASK:
        assert shown not in masked.replace(MASK, "")


def test_the_longer_secret_is_masked_first() -> None:
    assert Redactor(["pass", "password"]).text("a password") == f"a {MASK}"


def test_each_line_of_a_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBB\nCCCCDDDD\n-----END KEY-----"
    assert "CCCCDDDD" not in Redactor([key]).text("read CCCCDDDD")


def test_what_is_too_short_to_be_a_secret_does_not_tear_words_up() -> None:
    assert Redactor(["", "a", "abc"]).text("abc abacus") == "abc abacus"


def test_a_password_that_is_a_name_leaves_names_in_documents_whole() -> None:
    redactor = Redactor(["orders", "s3cret!"])
    redactor.publish('{"database": "orders"}')
    document = {"id": "orders-2603", "notes": ["s3cret! was here"], "bytes": 3, "none": None, "s3cret!": True}
    assert redactor.document(document) == {
        "id": "orders-2603",
        "notes": [f"{MASK} was here"],
        "bytes": 3,
        "none": None,
        "s3cret!": True,
    }
    assert redactor.text("orders") == MASK


def test_a_word_is_masked_where_it_stands_by_itself_and_leaves_digests_whole() -> None:
    redactor = Redactor()
    redactor.learn_words(["1815", "ada@example.org"])
    assert redactor.text("Key (id)=(1815) of 'ada@example.org'") == f"Key (id)=({MASK}) of '{MASK}'"
    digest = "9f1815ab"
    assert redactor.document({"sha256": digest, "said": "id 1815"}) == {"sha256": digest, "said": f"id {MASK}"}


def test_a_word_that_the_request_shows_anyway_leaves_documents_whole() -> None:
    redactor = Redactor()
    redactor.publish('{"deadline": "2026-03-01T00:00:00Z"}')
    redactor.learn_words(["2026", "42"])
    assert redactor.document({"at": "2026-04-01T00:00:42Z"}) == {"at": "2026-04-01T00:00:42Z"}
    assert redactor.text("in 2026") == f"in {MASK}"


def test_a_long_traceback_is_masked_before_it_is_cut() -> None:
    secret, out = "hunter2-" * 1000, io.StringIO()
    Log(out, Redactor([secret])).exception("failed", ValueError(f"no {secret}"))
    assert "hunter2" not in out.getvalue()
