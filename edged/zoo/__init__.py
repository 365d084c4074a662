"""Models that can be had: the catalogue of `configs/zoo.toml`, pulling from it, and installing what a user brings.

Where models lie and which one runs is `edged.store`'s.
"""

from edged.zoo.catalogue import Entry, Source, read_catalogue
from edged.zoo.fetch import Progress
from edged.zoo.install import check_familiarity, install, name_from_file, pull, verify

__all__ = [
    "Entry",
    "Progress",
    "Source",
    "check_familiarity",
    "install",
    "name_from_file",
    "pull",
    "read_catalogue",
    "verify",
]
