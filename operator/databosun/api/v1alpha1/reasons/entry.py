"""How a reason is written down, and how the lists of them become one enumeration."""

from __future__ import annotations

from enum import EnumType
from typing import Any, TypeVar

Reasons = TypeVar("Reasons")


class Entry:
    """One reason of a list: its word, and what a person does about it. Of the enumeration it is a member."""

    def __init__(self, word: str, what_to_do: str) -> None:
        self.word = word
        self.what_to_do = what_to_do

    def __get__(self, _: None, enumeration: type[Reasons]) -> Reasons:
        """Tell the type checker that it is a member; whoever asks a list instead is told to ask the enumeration."""
        message = f"ask Reason, not {enumeration.__name__}: {self.word} is a member there"
        raise AttributeError(message)


class Joined(EnumType):
    """Makes an enumeration of the lists that it inherits, in their order; Python has none that lies in many modules."""

    def __new__(metacls, name: str, bases: tuple[type, ...], members: Any, **options: Any) -> Joined:
        for one in bases:
            for key, entry in vars(one).items():
                if isinstance(entry, Entry):
                    members[key] = entry.word, entry.what_to_do
        return super().__new__(metacls, name, bases, members, **options)
