"""What `edged models add` asks about an .onnx file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import ConfigError, EdgedError, ModelError, NotInstalledError

if TYPE_CHECKING:
    from edged.types import Image
    from edged.vision.onnx_adoption import Pixels

_MOST_PHOTOS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    onnx = parser.add_argument_group("of an .onnx file")
    onnx.add_argument("--mean", type=_numbers, metavar="R,G,B", help="what is taken from each channel, 0..1")
    onnx.add_argument("--std", type=_numbers, metavar="R,G,B", help="what each channel is divided by then")
    onnx.add_argument("--bgr", action="store_true", help="blue comes first")
    onnx.add_argument("--size", type=_size, metavar="WxH", help="of the input, where the file leaves it open")
    onnx.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="they tell the bottleneck's range (default: six of edged's)",
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: use one number or three, e.g. 0.485,0.456,0.406") from error


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: use width and height in pixels, e.g. 224x224")
    return int(width), int(height)


def adopted(args: argparse.Namespace, model: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the content of the file that is installed, and what the manifest tells of how it came to be.

    Raises:
        ConfigError: An option is missing, or does not belong to this file.
        ModelError: The file is no classifier.
    """
    from edged.vision.formats import is_onnx

    if not is_onnx(model):
        given = [name for name in ("mean", "std", "bgr", "size", "photos") if getattr(args, name)]
        if given:
            raise ConfigError(f"--{given[0]} belongs to an .onnx file; a .tflite file says it itself")
        return model, {}
    from edged.zoo.adoption import adopt, is_ready

    pixels = _pixels(args)
    given = [name for name in ("mean", "size", "photos") if getattr(args, name)]
    if given and not args.bgr and is_ready(model):
        raise ConfigError(
            f"{args.file}: is in the form that edged runs and says it all itself; --{given[0]} would do nothing: "
            "leave it out"
        )
    try:
        made = adopt(model, _photos(args.photos), pixels=pixels, size=args.size, folder=args.file.absolute().parent)
    except NotInstalledError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{args.file}: {error}") from error
    except ModelError as error:
        raise ModelError(f"{args.file}: {error}") from error
    told = {} if pixels is None else {"normalisation": {"mean": pixels.mean, "std": pixels.std, "bgr": pixels.bgr}}
    return made, told


def _pixels(args: argparse.Namespace) -> Pixels | None:
    from edged.vision.onnx_adoption import Pixels

    if (args.mean is None) != (args.std is None):
        raise ConfigError("--mean and --std belong together")
    if args.mean is None:
        if args.bgr:
            raise ConfigError("--bgr belongs to --mean and --std")
        return None
    return Pixels.of(args.mean, args.std, bgr=args.bgr)


def _photos(folder: Path | None) -> list[Image]:
    from edged.codec import read_image
    from edged.demo import PHOTOS

    found: list[Image] = []
    for path in sorted((folder or PHOTOS).rglob("*") if folder is None or folder.is_dir() else []):
        if len(found) == _MOST_PHOTOS:
            break
        try:
            found.append(read_image(path))
        except (EdgedError, OSError):
            continue  # a licence beside the photos, say
    if not found:
        raise ConfigError(f"--photos {folder}: no photo can be read there")
    return found
