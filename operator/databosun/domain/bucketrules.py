"""The lifecycle rules of a bucket: ours rendered, merged with those of others, and compared with what came of it.

A bucket has one list of rules, and who writes it replaces all of it. So it is read, the rules that this policy owns are
exchanged, all others are handed back as they were, and what the server then returns decides. A rule is ours by its ID
and by its shape: one filter of our own prefix and our own tag, one transition, and never an expiration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from databosun.api.tiering import ARCHIVES, Conflict, Kept, TransitionOrder
from databosun.api.v1alpha1.reasons import Reason

TAG = "databosun-tier"
_KEYS = frozenset({"ID", "Status", "Filter", "Transitions"})
Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rules they are: of one policy, for the backups of one database."""

    cluster: str
    namespace: str
    policy: str
    prefix: str

    @property
    def ids(self) -> str:
        """What the IDs of all its rules begin with."""
        return f"databosun/{self.cluster}/{self.namespace}/{self.policy}/"


@dataclass(frozen=True, slots=True)
class Merged:
    """All rules as they are to be. `clashes`: rules under our IDs that are not ours; nothing is written then."""

    rules: tuple[Rule, ...]
    clashes: tuple[str, ...]
    changed: bool


def render(owner: Owner, transitions: Iterable[TransitionOrder]) -> tuple[Rule, ...]:
    """One rule for each class: an object goes where its tag says, no earlier than its own age allows."""
    return tuple(
        {
            "ID": f"{owner.ids}{one.storage_class}",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": owner.prefix, "Tags": [{"Key": TAG, "Value": str(one.storage_class)}]}},
            "Transitions": [{"Days": one.days, "StorageClass": str(one.storage_class)}],
        }
        for one in transitions
    )


def merge(found: Sequence[Rule], wanted: Sequence[Rule], owner: Owner) -> Merged:
    """Those of others as they are and in their order, then ours. Ours that are not wanted any more go."""
    own = [rule for rule in found if _id(rule).startswith(owner.ids)]
    clashes = tuple(_id(rule) for rule in own if not is_ours(rule, owner))
    others = [rule for rule in found if not _id(rule).startswith(owner.ids)]
    changed = sorted(map(text_of, own)) != sorted(map(text_of, wanted))
    return Merged((*others, *wanted) if changed else tuple(found), clashes, changed)


def is_ours(rule: Rule, owner: Owner) -> bool:
    """Whether a rule has the shape of ours; its days and class may be those of another time."""
    both = rule.get("Filter", {}).get("And", {})
    tags, moves = both.get("Tags", []), rule.get("Transitions", [])
    return (
        _id(rule).startswith(owner.ids)
        and set(rule) <= _KEYS
        and set(rule.get("Filter", {})) == {"And"}
        and set(both) == {"Prefix", "Tags"}
        and both["Prefix"] == owner.prefix
        and len(tags) == len(moves) == 1
        and tags[0]["Key"] == TAG
        and set(moves[0]) == {"Days", "StorageClass"}
        and tags[0]["Value"] == moves[0]["StorageClass"]
    )


def differences(expected: Sequence[Rule], returned: Sequence[Rule]) -> tuple[str, ...]:
    """The rules that are not, or not as they should be; and those that nobody wrote."""
    wanted, there = sorted(map(text_of, expected)), sorted(map(text_of, returned))
    lost = [f"rule {_id(rule) or text_of(rule)}" for rule in expected if text_of(rule) not in there]
    more = [f"rule {_id(rule) or text_of(rule)}" for rule in returned if text_of(rule) not in wanted]
    return tuple([*(f"{one} is not as it was written" for one in lost), *(f"{one} is there" for one in more)])


def conflicts(found: Sequence[Rule], owner: Owner, root: str, kept: Sequence[Kept]) -> Iterator[Conflict]:
    """What rules of others would do to objects below `root`, the folder of our namespace: it is none of theirs."""
    for rule in found:
        if _id(rule).startswith(owner.ids):
            if not is_ours(rule, owner):
                message = (
                    f"rule {_id(rule)} of the bucket has an ID of this policy's and is not of its making"
                    f" ({text_of(rule)}); remove or rename it"
                )
                yield Conflict(reason=Reason.BUCKET_RULE_CONFLICT, message=message)
        elif rule.get("Status") == "Enabled" and _reaches(rule, root, owner):
            yield from _harm(rule, root, kept)


def _harm(rule: Rule, root: str, kept: Sequence[Kept]) -> Iterator[Conflict]:
    where = f"rule {_id(rule) or 'without an ID'} of the bucket, on {_prefix(rule) or 'all of it'},"
    expiry = rule.get("Expiration", {})
    if "Days" in expiry or "Date" in expiry:
        when = f"after {expiry['Days']} d" if "Days" in expiry else f"on {expiry['Date']}"
        longest = "; ".join(
            f"BackupPolicy {one.policy} keeps for {'ever' if one.days is None else f'{one.days} d'} ({one.why})"
            for one in kept
        )
        message = (
            f"{where} deletes objects below {root} {when}, whatever stands on them{f': {longest}' if longest else ''};"
            " let retention alone delete, and take our prefix out of that rule"
        )
        yield Conflict(reason=Reason.BUCKET_RULE_CONFLICT, message=message)
    for move in rule.get("Transitions", ()):
        if move.get("StorageClass") in ARCHIVES or _ours_by_tag(rule):
            message = (
                f"{where} moves objects below {root} to {move.get('StorageClass')} one by one: parts of a chain, or"
                " what is read at each look (manifests, the owner marker); take our prefix out of that rule"
            )
            yield Conflict(reason=Reason.BUCKET_RULE_CONFLICT, message=message)


def _reaches(rule: Rule, root: str, owner: Owner) -> bool:
    """Whether it may act on an object below the folder, or by our tag on one of this database's. Other tags, which we
    never set, keep it away."""
    prefix = _prefix(rule)
    folder = owner.prefix if _ours_by_tag(rule) else f"{root}/"
    return (folder.startswith(prefix) or prefix.startswith(folder)) and (not _tags(rule) or _ours_by_tag(rule))


def _ours_by_tag(rule: Rule) -> bool:
    return any(tag.get("Key") == TAG for tag in _tags(rule))


def _tags(rule: Rule) -> list[Mapping[str, str]]:
    chosen = rule.get("Filter", {})
    return [*([chosen["Tag"]] if "Tag" in chosen else []), *chosen.get("And", {}).get("Tags", [])]


def _prefix(rule: Rule) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _id(rule: Rule) -> str:
    return str(rule.get("ID", ""))


def text_of(rule: Rule) -> str:
    """A rule in one form, to compare."""
    return json.dumps(rule, sort_keys=True, default=str)
