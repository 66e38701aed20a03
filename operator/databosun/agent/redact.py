"""Masks every secret value that the agent knows, in whatever it says or writes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
SHORTEST = 4  # shorter values would mask ordinary words and numbers, and are no secrets worth the name


class Redactor:
    """Knows secret values in their plain, base64, URL-quoted and JSON-escaped forms."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._words: dict[str, re.Pattern[str]] = {}
        self._public = ""
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Mask these from now on; each line of a value of several lines counts by itself too."""
        forms = set(self._forms)
        for value in values:
            for text in {value, value.strip(), *value.splitlines()}:
                forms.update(form for form in _forms(text) if len(form) >= SHORTEST)
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def learn_words(self, values: Iterable[str]) -> None:
        """The same for values that may be as short as a number: masked only where they stand by themselves, or a digest
        that has the same digits somewhere would be torn up."""
        for value in values:
            for form in _forms(value.strip()):
                self._words[form] = re.compile(rf"(?<![0-9A-Za-z]){re.escape(form)}(?![0-9A-Za-z])")

    def publish(self, *texts: str) -> None:
        """Say what stands in the open anyway, such as the request and the words of the contract.

        A password that equals a database's name is masked in prose, but must not tear up that name where machines
        read it.
        """
        self._public = "\n".join((self._public, *texts))

    def text(self, text: str) -> str:
        """Prose with every known secret masked."""
        return _mask(text, self._forms, self._words.values())

    def document(self, value: Any) -> Any:
        """JSON-like data for machines with every secret masked that does not stand in the open anyway; keys stay."""
        forms = tuple(form for form in self._forms if form not in self._public)
        words = [word for form, word in self._words.items() if form not in self._public]
        return _walk(value, lambda text: _mask(text, forms, words))


def _walk(value: Any, masked: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: _walk(item, masked) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, masked) for item in value]
    return value


def _mask(text: str, forms: tuple[str, ...], words: Iterable[re.Pattern[str]]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    for word in words:
        text = word.sub(MASK, text)
    return text


def _forms(text: str) -> set[str]:
    if len(text) < SHORTEST:
        return set()
    raw = text.encode()
    forms = {
        text,
        quote(text, safe=""),
        quote_plus(text),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
    }
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(raw).decode()
        forms.update({encoded, encoded.rstrip("=")})
    return forms
