"""Where the shipped models and configuration lie: inside an installed package, or beside it in a checkout."""

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
