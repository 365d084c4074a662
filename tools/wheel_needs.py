"""What the libraries in a wheel ask of the system that they are loaded on, read from their ELF version needs.

A wheel's tag promises a glibc, and some tags promise an older one than the libraries inside can be loaded with. Each
library says itself which versions of glibc's, libstdc++'s and libgcc's symbols it was linked against; the dynamic
loader refuses it where one is missing.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import ZipFile

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

MAGIC = b"\x7fELF"
RELATIVE_RELOCATIONS = "GLIBC_ABI_DT_RELR"  # glibc 2.36 is the first that knows packed relative relocations


class Version(NamedTuple):
    """A version of a set of symbols, e.g. GLIBC 2.34."""

    family: str
    number: tuple[int, ...]

    @classmethod
    def parse(cls, name: str) -> "Version | None":
        """Parse what a library asks for; None where it is no version with a number."""
        if name == RELATIVE_RELOCATIONS:
            return cls("GLIBC", (2, 36))
        match = re.fullmatch(r"(GLIBC|GLIBCXX|CXXABI|GCC)_(\d+(?:\.\d+)*)", name)
        return None if match is None else cls(match[1], tuple(map(int, match[2].split("."))))

    def __str__(self) -> str:
        return f"{self.family}_{'.'.join(map(str, self.number))}"


class Need(NamedTuple):
    """What one library of a wheel asks of one library of the system."""

    library: str
    of: str
    version: Version

    def __str__(self) -> str:
        return f"{self.library} needs {self.version} of {self.of}"


class System(NamedTuple):
    """The newest symbols that a distribution's C and C++ libraries have; None: not looked at."""

    glibc: tuple[int, ...]
    glibcxx: tuple[int, ...]
    cxxabi: tuple[int, ...]

    def has(self, version: Version) -> bool:
        """Whether a library that asks for this version is loaded here."""
        newest = {"GLIBC": self.glibc, "GLIBCXX": self.glibcxx, "CXXABI": self.cxxabi}.get(version.family)
        return newest is None or version.number <= newest


def needs(wheel: Path) -> Iterator[Need]:
    """Yield what the libraries in a wheel ask of libraries that the wheel does not bundle itself."""
    with ZipFile(wheel) as archive:
        libraries = {}
        for name in archive.namelist():
            with archive.open(name) as file:
                if file.read(len(MAGIC)) == MAGIC:
                    libraries[name] = ELFFile(io.BytesIO(archive.read(name)))
    bundled = {PurePosixPath(name).name for name in libraries}
    for library in libraries.values():
        bundled |= set(sonames(library))
    for name, library in libraries.items():
        for of, asked in version_needs(library):
            version = Version.parse(asked)
            if version is not None and of not in bundled:
                yield Need(name, of, version)


def sonames(library: ELFFile) -> Iterator[str]:
    """Yield the name under which other libraries ask for this one."""
    for section in library.iter_sections():
        if isinstance(section, DynamicSection):
            yield from (tag.soname for tag in section.iter_tags() if tag.entry.d_tag == "DT_SONAME")


def version_needs(library: ELFFile) -> Iterator[tuple[str, str]]:
    """Yield (library, version) for each version of another library's symbols that this one asks for."""
    for section in library.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for other, versions in section.iter_versions():
                # A weak one is not missed.
                yield from ((other.name, version.name) for version in versions if not version["vna_flags"] & 2)


def unmet(wheel: Path, system: System) -> list[Need]:
    """Return what a wheel asks for and the system lacks: of each library and family the newest."""
    worst: dict[tuple[str, str], Need] = {}
    for need in needs(wheel):
        key = (need.library, need.version.family)
        if not system.has(need.version) and (key not in worst or worst[key].version < need.version):
            worst[key] = need
    return [worst[key] for key in sorted(worst)]
