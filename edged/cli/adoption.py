"""What `edged models add` asks about an .onnx file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edged.errors import ConfigError, ModelError, NotInstalledError
from edged.terminal import onnx_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    onnx_options.add_arguments(parser).add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="they tell the bottleneck's range (default: six of edged's)",
    )


def adopted(args: argparse.Namespace, model: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the content of the file that is installed, and what the manifest tells of how it came to be.

    Raises:
        ConfigError: An option is missing, or does not belong to this file.
        ModelError: The file is no classifier.
    """
    from edged.contract.model_file import is_onnx

    given = [*onnx_options.given(args), *(["photos"] if args.photos else [])]
    if not is_onnx(model):
        if given:
            raise ConfigError(f"--{given[0]} belongs to an .onnx file; a .tflite file says it itself")
        return model, {}
    from edged.vision.onnx_adoption import Pixels
    from edged.zoo.adoption import adopt, is_ready, read_photos

    told = onnx_options.normalisation(args)
    if given and not args.bgr and is_ready(model):
        raise ConfigError(
            f"{args.file}: is in the form that edged runs and says it all itself; --{given[0]} would do nothing: "
            "leave it out"
        )
    if not (photos := read_photos(args.photos)):
        raise ConfigError(f"--photos {args.photos}: no photo can be read there")
    pixels = None if told is None else Pixels.of(told["mean"], told["std"], bgr=told["bgr"])
    try:
        made = adopt(model, photos, pixels=pixels, size=args.size, folder=args.file.absolute().parent)
    except NotInstalledError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{args.file}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{args.file}: {error}") from error
    return made, {} if told is None else {"normalisation": told}
