"""Detectors as `edged models`, `edged check` and `edged doctor` install, show and verify them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edged.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.store import InstalledDetector, Store

_OF_A_CLASSIFIER = ("labels", "mean", "std", "bgr", "size", "photos")


def add(args: argparse.Namespace, model: bytes, store: Store) -> InstalledDetector:
    """Install what `edged models add --detector` names.

    Raises:
        ConfigError: An option belongs to a classifier, or the name is taken.
        ModelError: The file is no detector.
    """
    from edged.terminal.text import file_name
    from edged.zoo.detectors import install_detector
    from edged.zoo.install import name_from_file

    if given := [name for name in _OF_A_CLASSIFIER if getattr(args, name)]:
        raise ConfigError(f"--{given[0]} belongs to a classifier; a detector names nothing, and sees the whole frame")
    return install_detector(
        store,
        model,
        name=name_from_file(args.file) if args.name is None else args.name,
        origin=str(args.file),
        source=f"added from {file_name(args.file)}",
        replace=args.replace,
    )


def wanted(configuration: Settings) -> dict[str, str]:
    """Return camera → the detector that finds its regions; only cameras that have one."""
    return {name: camera.detector for name, camera in configuration.cameras.items() if camera.detector is not None}


def row(detector: InstalledDetector, configuration: Settings) -> dict[str, Any]:
    """Return what there is to tell about a detector in one line."""
    size = detector.manifest.input
    return {
        "name": detector.name,
        "id": detector.id,
        "status": "detector",
        "current": detector.name in wanted(configuration).values(),
        "width": size.width,
        "height": size.height,
    }


def fields(detector: InstalledDetector, configuration: Settings) -> dict[str, Any]:
    """Return everything about one."""
    told = row(detector, configuration) | {"path": str(detector.path)}
    return told | detector.manifest.model_dump(mode="json", exclude_none=True)


def verified(detector: InstalledDetector, configuration: Settings) -> str:
    """Return the line of one that is sound.

    Raises:
        ModelError: One line that names its folder and what is wrong.
    """
    from edged.zoo.detectors import verify_detector

    seen = verify_detector(detector, configuration.model.engine, configuration.model.threads)
    return (
        f"{detector.name} ({detector.id}): sound; a detector, {seen.width}×{seen.height}, at most {seen.most} boxes, "
        f"{seen.invoke_ms:.1f} ms on {seen.runtime}"
    )


def check(camera: str, configuration: Settings) -> str:
    """Say what finds the regions of a camera that a detector finds.

    Raises:
        ConfigError: It is not installed, or a classifier: edged does not start so.
        ModelError: It is damaged, or was given up: edged starts, and classifies the camera's frames whole.
    """
    from edged.store import Store
    from edged.zoo.detectors import verify_detector

    settings = configuration.cameras[camera]
    key, store = f"cameras.{camera}.regions", Store(configuration.storage.state_dir)
    try:
        detector = store.detectors.find(str(settings.detector))
        detector.check_trial()
        seen = verify_detector(detector, configuration.model.engine, configuration.model.threads)
    except ModelError as error:
        if settings.detector in store.detectors.names():
            raise ModelError(f"frames are classified whole: {error}") from error
        raise ConfigError(f"{key} = {settings.regions!r}: {error}", key=key) from error
    return (
        f"{detector.name} ({detector.id}), {seen.width}×{seen.height}, boxes with a score of "
        f"{settings.score_threshold:g} or more: {seen.invoke_ms:.1f} ms on {seen.runtime} with "
        f"{configuration.model.threads} thread(s)"
    )
