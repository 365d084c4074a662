"""Sets of labeled photos of very different kinds, made of ../shared/data, to measure transfer on."""

from __future__ import annotations

import csv
from pathlib import Path

Groups = dict[str, set[int]]


def _span(*spans: tuple[int, int] | int) -> set[int]:
    return {index for span in spans for index in (range(span[0], span[1] + 1) if isinstance(span, tuple) else [span])}


ANIMALS: Groups = {
    "birds": _span((7, 24), (80, 100), (127, 146)),
    "cats": _span((281, 293)),
    "cold-blooded": _span((0, 6), (25, 68)),
    "dogs": _span((151, 268)),
    "insects": _span((300, 326)),
    "monkeys": _span((365, 382)),
    "spiders": _span((69, 79)),
}
BIRDS: Groups = {
    "fowl": _span(7, 8, (80, 86)),
    "parrots and others": _span((87, 96)),
    "raptors": _span((21, 24)),
    "songbirds": _span((10, 20)),
    "water birds": _span((97, 100), (127, 146)),
}
INSECTS: Groups = {
    "beetles": _span((300, 307)),
    "bees and flies": _span((308, 310)),
    "bugs": _span((316, 318)),
    "butterflies": _span((321, 326)),
    "dragonflies": _span((319, 320)),
    "grasshoppers": _span((311, 315)),
}
DOGS: Groups = {
    "hounds": _span((151, 178)),
    "terriers": _span((179, 204)),
    "sporting": _span((205, 221)),
    "working": _span((222, 250)),
    "toy and spitz": _span((251, 268)),
}
FOOD: Groups = {
    "dishes": _span((924, 935), (959, 965)),
    "drinks": _span((966, 969)),
    "fruit": _span((948, 957)),
    "vegetables": _span((936, 947)),
}
VEHICLES: Groups = {
    "aircraft": _span(404, 405, 417, 895),
    "bicycles": _span(444, 665, 670, 671, 880),
    "boats": _span(472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 833, 871, 914),
    "cars": _span(407, 436, 468, 511, 555, 569, 609, 627, 654, 656, 661, 675, 717, 734, 751, 779, 817, 864, 867),
    "trains": _span(466, 547, 565, 705, 820, 829, 874),
}
INSTRUMENTS: Groups = {
    "keys": _span(401, 579, 593, 687, 881),
    "percussion": _span(412, 541, 642, 822),
    "strings": _span(402, 420, 486, 546, 889),
    "wind": _span(432, 494, 513, 558, 566, 683, 684, 699, 776, 875),
}
IMAGENET_TARGETS: dict[str, Groups] = {
    "animals": ANIMALS,
    "birds": BIRDS,
    "dogs": DOGS,
    "food": FOOD,
    "insects": INSECTS,
    "instruments": INSTRUMENTS,
    "vehicles": VEHICLES,
}


def make_flowers(data: Path, folder: Path, per_class: int) -> Path:
    """Link `per_class` photos of each flower, spread over the files in the order of their names."""
    for kind in sorted(path for path in (data / "flowers").iterdir() if path.is_dir()):
        files = sorted(kind.glob("*.jpg"))
        for number in range(min(per_class, len(files))):
            _link(files[number * len(files) // min(per_class, len(files))], folder / kind.name)
    return folder


def make_imagenet(
    data: Path, folder: Path, groups: Groups, *, without: str | None = None, most: int | None = None
) -> Path:
    """Link the photos of groups of ImageNet's classes.

    Args:
        data: The folder of shared data.
        folder: Where a folder for each group is made.
        groups: Name of a group → numbers of its classes.
        without: Leave out the photos of this source (see the data's README).
        most: Link so many photos of a group at most, spread over the list.
    """
    found: dict[str, list[str]] = {label: [] for label in groups}
    with (data / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for label, classes in groups.items():
                if int(row["class_index"]) in classes and row["source"] != without:
                    found[label].append(row["file"])
    for label, files in found.items():
        count = len(files) if most is None else min(most, len(files))
        for number in range(count):
            _link(data / "imagenet" / files[number * len(files) // count], folder / label)
    return folder


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{file.parent.name}_{file.name}"
    if not link.exists():
        link.symlink_to(file.resolve())
