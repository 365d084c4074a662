"""Where the shipped models, configuration and photos lie: in an installed package, or beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """Return the folder of shipped files.

    Args:
        kind: "models" or "configs".

    Returns:
        `edged/shipped/<kind>` of an installed package, else `<checkout>/<kind>`.
    """
    installed = _PACKAGE / "shipped" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def shipped_photos() -> Path:
    """Return the folder of the photos that come with edged."""
    return _PACKAGE / "demo" / "photos"
