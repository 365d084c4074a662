"""Which versions ran, one after another: a list that is only ever read together with the link to the current one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

LONGEST = 50
"""So many changes back are remembered."""


class HistoryFile(BaseModel):
    """Content of `history.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    configured: str
    ids: list[str] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class History:
    """Promoted versions, oldest first; the last one is current. One that was promoted again stands there again.

    The file is written before the link is changed. So after a power cut it may be one promotion ahead of the link, and
    after a rollback it may still hold what was rolled back: the link decides where the list ends.

    Attributes:
        configured: `model.name` of the settings under which they were promoted.
        ids: Bundle ids; no two neighbours are the same.
    """

    configured: str
    ids: tuple[str, ...]

    @classmethod
    def read(cls, data: bytes, current: str | None) -> History:
        """Read `history.json` as far as the link's id; the whole of it where there is no link.

        An id that the list lacks is its newest: the list is an older one, which came back from a backup, say.

        Raises:
            ValueError: Not the content of a history file.
        """
        file = HistoryFile.model_validate_json(data)
        if current is None:
            return cls(file.configured, _changes(file.ids))
        if current not in file.ids:
            return cls(file.configured, _changes([*file.ids, current]))
        end = len(file.ids) - file.ids[::-1].index(current)
        return cls(file.configured, _changes(file.ids[:end]))

    def promoted(self, bundle_id: str) -> History:
        """Return the history after `bundle_id` has become current."""
        return History(self.configured, _changes([*self.ids, bundle_id])[-LONGEST:])

    def back_to(self, place: int) -> History:
        """Return the history after the version at this index of `ids` has become current again."""
        return History(self.configured, self.ids[: place + 1])

    def encode(self) -> bytes:
        """Return the content of `history.json`."""
        return (HistoryFile(configured=self.configured, ids=list(self.ids)).model_dump_json(indent=2) + "\n").encode()


def _changes(ids: Sequence[str]) -> tuple[str, ...]:
    """Leave out what is the same as its neighbour before it."""
    return tuple(id_ for before, id_ in zip([None, *ids], ids, strict=False) if id_ != before)
