"""Whether a newly promoted version has proved itself, on disk: a version that ends the device cannot say so itself.

    promoted ──10 live frames──► proven ──a minute of answering──► settled (nothing is on disk any more)

A start that ends without a farewell counts against the version that answered. One such end is enough for a version that
is not proven yet; one that is proven, but not settled, has three. A settled version is never blamed: whatever ends the
device then is more likely something else.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

STARTS_UNPROVEN = 1
STARTS_PROVEN = 3
_BYTES = 256


class Trial(BaseModel):
    """Content of `trial.json`: the current version is on trial.

    Attributes:
        id: Of the version.
        starts: How often a daemon has begun to answer with it and has not ended in order.
        proven: Whether it has classified live frames.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    starts: Annotated[int, Field(ge=0)] = 0
    proven: bool = False

    @property
    def lost(self) -> bool:
        """Whether no further start may answer with it."""
        return self.starts >= (STARTS_PROVEN if self.proven else STARTS_UNPROVEN)

    @property
    def verdict(self) -> str:
        """Why it is lost, for people."""
        if self.proven:
            return f"the daemon ended {self.starts} times soon after it began to answer"
        return "the daemon ended while it was on trial"

    def encode(self) -> bytes:
        """Return UTF-8 JSON of always the same length: a full disk lets a file be changed, and none grow."""
        return (self.model_dump_json().ljust(_BYTES - 1) + "\n").encode()


class Fallback(BaseModel):
    """Content of `fallback.json`: a version failed, and what was there before it answers.

    Attributes:
        id: Of the version that failed.
        reason: One line for people.
        since: When it was given up, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    reason: str
    since: datetime

    def encode(self) -> bytes:
        """Return UTF-8 JSON."""
        return (self.model_dump_json() + "\n").encode()
