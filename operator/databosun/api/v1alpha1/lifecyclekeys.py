"""What a rule says of keys, which are found by patterns of their names and know no age."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import PositiveDuration
from databosun.api.v1alpha1.schema import cel

KeyPattern = Annotated[str, Field(min_length=1, max_length=256)]

_KEYED = "!has(self.target) || !has(self.target.keyPattern)"
KEY_RULES = (
    cel(
        f"{_KEYED} || self.action.type in ['Expire', 'Delete']",
        "keys can be given a time to live (Expire) or deleted (Delete): no other action is for target.keyPattern",
    ),
    cel(
        "self.action.type != 'Expire' || !has(self.target) || has(self.target.keyPattern)",
        "Expire is for keys: it needs target.keyPattern",
    ),
    cel(
        f"{_KEYED} || !has(self.match) || (!has(self.match.column) && !has(self.match.olderThan) &&"
        " !has(self.match.where))",
        "a key has no column and no known age: with target.keyPattern, match takes idleFor alone",
    ),
    cel(
        "!has(self.target) || has(self.target.keyPattern) || !has(self.match) || !has(self.match.idleFor)",
        "match.idleFor is for keys: it needs target.keyPattern",
    ),
    cel(
        f"{_KEYED} || !has(self.limits) || !has(self.limits.keepNewest) || self.limits.keepNewest == 0",
        "limits.keepNewest cannot be kept: a key does not tell when it was made",
    ),
    cel(
        f"{_KEYED} || ((!has(self.allow) || (!has(self.allow.cascades) || size(self.allow.cascades) == 0) &&"
        " (!has(self.allow.triggers) || size(self.allow.triggers) == 0)) && (!has(self.foreignKeys) ||"
        " self.foreignKeys == 'Refuse'))",
        "nothing goes along with a key: allow.cascades, allow.triggers and foreignKeys are for rows",
    ),
)


class ExpireAction(Model):
    """How keys are given a time to live."""

    after: PositiveDuration = Field(description="How long a key lives on, from the moment at which a run comes to it.")
    shorten: bool = Field(
        default=False,
        description="False: only keys without a time to live are given one. True: those that would live longer than"
        " after, too.",
    )
