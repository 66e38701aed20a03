"""When the objects of a backup go to which class of storage."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.tiering import StorageClass
from databosun.api.v1alpha1.common import Model


class Transition(Model):
    """One step down."""

    days: Annotated[int, Field(ge=1, le=36500)] = Field(
        description="How old the newest backup of a chain must be: a chain goes as a whole, or not at all."
    )
    storage_class: StorageClass = Field(
        alias="class",
        description="STANDARD_IA and GLACIER_IR can be read at once; GLACIER and DEEP_ARCHIVE only after a thaw of"
        " hours.",
    )
