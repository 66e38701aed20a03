"""When the objects of a backup go to which class of storage, and how they are read again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.tiering import StorageClass, ThawSpeed
from databosun.api.v1alpha1.common import Model


class Thaw(Model):
    """Have what lies in an archive class made readable first. It costs money, and hours."""

    speed: ThawSpeed = Field(
        default=ThawSpeed.STANDARD,
        description="Expedited: minutes, from GLACIER alone. Standard: up to 5 hours from GLACIER, up to 12 from"
        " DEEP_ARCHIVE. Bulk: up to 12, and up to 48.",
    )
    days: Annotated[int, Field(ge=1, le=90)] = Field(
        default=3, description="How long the readable copies stay; they are billed beside the archived ones."
    )


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
