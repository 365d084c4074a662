"""Sets of labeled photos of very different kinds, to measure transfer on: of ../shared/data, spoiled, turned and drawn.

Every target is an ordinary folder with a folder per label. `build` makes those of one side of `set_aside`: no photo, no
near duplicate of one, and no seed of a drawing is on both sides.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from benchmarks.drawn import FAULTS, KINDS, QUALITIES, TURNS, ZOOMS, Picture, compress, draw, spoil, turn, zoom
from benchmarks.set_aside import Side, side_of
from edged.codec import read_image
from edged.images import open_images

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
MAMMALS: Groups = {
    "bears": _span((294, 299), 387, 388),
    "cats": _span((281, 293)),
    "dogs and wolves": _span((151, 280)),
    "hares and rodents": _span((330, 338)),
    "hoofed": _span((339, 355), 385, 386),
    "martens": _span((356, 364)),
    "monkeys": _span((365, 384)),
}
SMALL_ANIMALS: Groups = {
    "amphibians": _span((25, 32)),
    "crabs and shells": _span((107, 126), (327, 329)),
    "fish": _span((0, 6), (389, 397)),
    "insects": _span((300, 326)),
    "lizards and turtles": _span((33, 51)),
    "snakes": _span((52, 68)),
    "spiders": _span((69, 79)),
}
HOUSEHOLD: Groups = {
    "appliances": _span(521, 527, 534, 545, 550, 606, 651, 664, 673, 713, 742, 754, 760, 827, 851, 859, 882, 897),
    "furniture": _span(423, 431, 453, 493, 495, 516, 520, 526, 532, 559, 564, 703, 736, 765, 831, 846, 857, 894),
    "kitchen": _span(438, 441, 469, 499, 503, 504, 505, 544, 567, 572, 618, 647, 659, 666, 725, 738, 773, 809, 813,
                     828, 849, 868, 899, 909, 910, 923),
    "tools": _span(462, 473, 477, 491, 512, 587, 596, 623, 677, 710, 714, 731, 740, 772, 783, 784, 792),
    "electronics": _span(409, 482, 485, 487, 508, 528, 530, 531, 590, 592, 605, 613, 620, 632, 650, 662, 732, 759, 761),
}  # fmt: skip
CLOTHING: Groups = {
    "coats and dresses": _span(399, 400, 474, 501, 568, 578, 601, 614, 617, 652, 655, 689, 735, 834, 841, 869, 887),
    "hats and helmets": _span(433, 439, 452, 515, 518, 560, 667, 715, 793, 808, 903),
    "shoes and socks": _span(496, 502, 514, 630, 770, 774, 806),
    "small things": _span(414, 451, 457, 464, 591, 636, 658, 679, 748, 824, 836, 837, 879, 893, 906),
    "swimwear and sportswear": _span(445, 459, 608, 610, 638, 639, 697, 842),
}
PLACES: Groups = {
    "bridges and walls": _span(460, 489, 525, 716, 821, 825, 839, 873, 888, 912),
    "buildings": _span(425, 449, 483, 497, 498, 500, 538, 580, 660, 663, 668, 672, 682, 698, 727, 832, 853, 863, 900,
                       915),
    "landscapes": _span((970, 980)),
    "shops and rooms": _span(415, 424, 454, 467, 509, 582, 598, 624, 743, 762, 788, 819, 860, 865),
}  # fmt: skip
KINGDOMS: Groups = {
    "animals": _span((0, 397)),
    "food and plants": _span((924, 969), (984, 998)),
    "things": _span((398, 923), 999),
}
IMAGENET_TARGETS: dict[str, Groups] = {
    "animals": ANIMALS,
    "clothing": CLOTHING,
    "dogs": DOGS,
    "food": FOOD,
    "household": HOUSEHOLD,
    "kingdoms": KINGDOMS,
    "mammals": MAMMALS,
    "places": PLACES,
    "small animals": SMALL_ANIMALS,
    "vehicles": VEHICLES,
}


FLOWERS: dict[str, tuple[str, ...]] = {
    "flowers": ("daisy", "dandelion", "roses", "sunflowers", "tulips"),
    "roses or tulips": ("roses", "tulips"),
    "white or yellow": ("daisy", "dandelion", "sunflowers"),
}
DRAWN = ("checkerboards", "counting", "displays", "gauges", "shapes", "textures")
LEAST_PHOTOS = 60  # of a target on the report side: with fewer nobody can say which network is best
LEAST_OF_A_LABEL, MOST_OF_A_LABEL = 8, 120
PER_FLOWER: dict[Side, dict[str, int]] = {
    "develop": {"flowers": 60, "roses or tulips": 80, "white or yellow": 50, "faults": 40},
    "report": {"flowers": 120, "roses or tulips": 150, "white or yellow": 110, "faults": 60},
}
"""Photos of each flower in each target; the targets share none."""
DRAWN_PHOTOS: dict[Side, int] = {"develop": 150, "report": 240}
TURNED_PHOTOS: dict[Side, int] = {"develop": 160, "report": 300}
FIRST_SEED: dict[Side, int] = {"develop": 0, "report": 10_000}
"""Of the drawings; what networks are trained on begins at `TRAINING_SEED`."""
TRAINING_SEED = 20_000
MANY: dict[Side, int] = {"develop": 500, "report": 700}
"""At most so many photos of each of the targets that are as large as the photos allow; they share photos."""
MANY_FLOWERS: dict[str, dict[str, tuple[str, ...]]] = {
    "flowers, many": {kind: (kind,) for kind in FLOWERS["flowers"]},
    "roses or tulips, many": {kind: (kind,) for kind in FLOWERS["roses or tulips"]},
    "white or yellow, many": {kind: (kind,) for kind in FLOWERS["white or yellow"]},
    "daisies or dandelions": {"daisy": ("daisy",), "dandelion": ("dandelion",)},
    "mostly yellow": {"yellow": ("dandelion", "sunflowers"), "other": ("daisy", "roses", "tulips")},
}


def build(data: Path, folder: Path, side: Side) -> dict[str, Path]:
    """Make the targets of one side: name → folder with a folder per label. What is there already stays.

    Args:
        data: The shared data: `flowers/` and `imagenet/`.
        folder: Where the targets are made; photos are linked, not copied, unless something was done to them.
        side: Of `set_aside`.
    """
    made = {
        name: folder / side / name for name in (*FLOWERS, *IMAGENET_TARGETS, *DRAWN, "faults", "turned", "handwriting")
    }
    if (folder / side / ".complete").exists():
        return {name: path for name, path in made.items() if path.is_dir()}
    flowers = flower_photos(data, side)
    for name, kinds in FLOWERS.items():
        for kind in kinds:
            for _ in range(PER_FLOWER[side][name]):
                _link(flowers[kind].pop(), made[name] / kind)
    spoiled = [flowers[kind].pop() for _ in range(PER_FLOWER[side]["faults"]) for kind in sorted(flowers)]
    for number, file in enumerate(spoiled):
        fault = FAULTS[number % len(FAULTS) - number // len(FAULTS) % len(FAULTS)]
        _write(made["faults"] / fault / f"{file.stem}.jpg", spoil(_small(file), fault, FIRST_SEED[side] + number))
    photos = imagenet(data, side)
    for name, groups in IMAGENET_TARGETS.items():
        _link_groups(photos, groups, made[name])
    for number, (file, _) in enumerate(photos[: TURNED_PHOTOS[side]]):
        label = TURNS[number % len(TURNS)]
        _write(made["turned"] / label / f"{file.stem}.jpg", turn(_small(file), label))
    for kind in DRAWN:
        labels = KINDS[kind][0]
        for number in range(DRAWN_PHOTOS[side]):
            label, seed = labels[number % len(labels)], FIRST_SEED[side] + number // len(labels)
            _write(made[kind] / label / f"{seed}.png", draw(kind, label, seed))
    for number, (digit, picture) in enumerate(handwriting(side)[: DRAWN_PHOTOS[side]]):
        _write(made["handwriting"] / str(digit) / f"{number}.png", picture)
    (folder / side / ".complete").touch()
    return {name: path for name, path in made.items() if path.is_dir()}


def build_many(data: Path, folder: Path, side: Side) -> dict[str, Path]:
    """Make targets with as many photos as one side has, at most `MANY` each: name → folder with a folder per label.

    The arguments are those of `build`. Unlike its targets these share photos, and half of them are photos to which
    something was done.
    """
    root = folder / f"{side}-many"
    if not (root / ".complete").exists():
        flowers = flower_photos(data, side)
        for name, labels in MANY_FLOWERS.items():
            for label, kinds in labels.items():
                files = [file for turn_ in zip(*(flowers[kind] for kind in kinds), strict=False) for file in turn_]
                for file in files[: MANY[side] // len(labels)]:
                    _link(file, root / name / label)
        photos = imagenet(data, side)
        for name, groups in (("kingdoms, many", KINGDOMS), ("animals, many", ANIMALS)):
            for label, classes in groups.items():
                for file in [file for file, number in photos if number in classes][: MANY[side] // 2]:
                    _link(file, root / name / label)
        things = [file for file, _ in photos][: MANY[side]]
        blossoms = [file for turn_ in zip(*flowers.values(), strict=False) for file in turn_][: MANY[side]]
        for name, files in (("turned, many", things), ("turned flowers", blossoms)):
            _done_to(files, TURNS, lambda photo, label, _: turn(photo, label), root / name)
        for name, files in (("faults of things", things), ("faults, many", blossoms)):
            _done_to(files, FAULTS, spoil, root / name, FIRST_SEED[side])
        _done_to(things, ZOOMS, lambda photo, label, _: zoom(photo, label), root / "zoom")
        _done_to(blossoms, QUALITIES, lambda photo, label, _: compress(photo, label), root / "compression")
        for kind, (names, _) in KINDS.items():
            for number in range(MANY[side] * 2 // 3):
                label, seed = names[number % len(names)], FIRST_SEED[side] + number // len(names)
                _write(root / f"{kind}, many" / label / f"{seed}.png", draw(kind, label, seed))
        for number, (digit, picture) in enumerate(handwriting(side)[: MANY[side]]):
            _write(root / "handwriting, many" / str(digit) / f"{number}.png", picture)
        (root / ".complete").touch()
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}


def _done_to(
    files: list[Path], labels: tuple[str, ...], do: Callable[[Picture, str, int], Picture], folder: Path, seed: int = 0
) -> None:
    """Write photos to which was done what a label names; the labels are dealt so that none has a kind of photo."""
    for number, file in enumerate(files):
        label = labels[(number + number // len(labels)) % len(labels)]
        _write(folder / label / f"{file.stem}.png", do(_small(file), label, seed + number))


def imagenet(data: Path, side: Side) -> list[tuple[Path, int]]:
    """Return the photos of `imagenet/` on one side and their classes, 0..999, in the order of their hashes."""
    with (data / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        classes = {(data / "imagenet" / row["file"]).resolve(): int(row["class_index"]) for row in csv.DictReader(file)}
    return [(file, classes[file]) for file in photos_of(data / "imagenet", side) if file in classes]


def flower_photos(data: Path, side: Side) -> dict[str, list[Path]]:
    """Return kind → the photos of `flowers/` on one side, in the order of their hashes."""
    photos = photos_of(data / "flowers", side)
    return {kind: [file for file in photos if file.parent.name == kind] for kind in FLOWERS["flowers"]}


@functools.cache
def photos_of(folder: Path, side: Side) -> tuple[Path, ...]:
    """Return the files in the folders of a folder that are on one side, in the order of their hashes.

    Near duplicates are on one side, and of the same file under two names one is taken.
    """
    with tempfile.TemporaryDirectory() as state, closing(open_images(Path(state), folder, 1000.0)) as images:
        images.scan(settle_s=0)
        found = sorted(images.labeled(), key=lambda image: image.sha256)
        return tuple(image.path.resolve() for image in found if side_of(image.group_id) == side)


def handwriting(side: Side) -> list[tuple[int, Picture]]:
    """Return handwritten digits of one side, and how they look: those of scikit-learn, 8 × 8 pixels, made larger."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    found = []
    for pixels, digit in zip(digits.images, digits.target, strict=True):
        gray = np.asarray(pixels * (255 / 16), np.uint8)
        if side_of(hashlib.sha256(gray.tobytes()).hexdigest()) == side:
            large = cv2.resize(255 - gray, (96, 96), interpolation=cv2.INTER_CUBIC)
            found.append((int(digit), np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB), np.uint8)))
    return found


def _link_groups(photos: list[tuple[Path, int]], groups: Groups, folder: Path) -> None:
    members = {label: [file for file, number in photos if number in classes] for label, classes in groups.items()}
    for label, files in members.items():
        if len(files) >= LEAST_OF_A_LABEL:
            for file in files[:MOST_OF_A_LABEL]:
                _link(file, folder / label)


def _small(file: Path) -> Picture:
    image = read_image(file)
    scale = 320 / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(file: Path, picture: Picture) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(file), picture[:, :, ::-1]):
        raise OSError(f"{file}: cannot be written")


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
