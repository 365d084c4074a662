"""Which versions ran before: a list that is only ever read together with the link to the current one."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class HistoryFile(BaseModel):
    """Content of `history.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    configured: str
    ids: list[str] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class History:
    """Promoted versions, oldest first; the last one is current.

    The file is written before the link is changed. So after a power cut it may be one promotion ahead of the link, and
    after a rollback it still holds what was rolled back: the link decides where the list ends.

    Attributes:
        configured: `model.name` of the settings under which they were promoted.
        ids: Bundle ids, each once.
    """

    configured: str
    ids: tuple[str, ...]

    @classmethod
    def read(cls, data: bytes, current: str) -> History | None:
        """Read `history.json` as far as the link's id; None where the link is not of this history.

        Raises:
            ValueError: Not the content of a history file.
        """
        file = HistoryFile.model_validate_json(data)
        if current not in file.ids:
            return None
        end = len(file.ids) - file.ids[::-1].index(current)
        return cls(file.configured, _once(file.ids[:end]))

    def promoted(self, bundle_id: str) -> History:
        """Return the history after `bundle_id` has become current."""
        return History(self.configured, _once([*self.ids, bundle_id]))

    def encode(self, *, then: str | None = None) -> bytes:
        """Return the content of `history.json`; `then` is the id that the link is about to point to.

        The old list stays whole in front of `then`, even where that repeats an id: until the link has changed, it is
        what counts.
        """
        ids = [*self.ids, then] if then is not None else list(self.ids)
        return (HistoryFile(configured=self.configured, ids=ids).model_dump_json(indent=2) + "\n").encode()


def _once(ids: list[str]) -> tuple[str, ...]:
    """Keep the last occurrence of each id."""
    return tuple(reversed(dict.fromkeys(reversed(ids))))
