"""Which of the installed networks a training had better start from: by a race, or in one of three other ways.

`ranker` looks at labeled images and ranks; `ranking` is what comes out, with its report, and `remarks` says why the
first one is the first and what speaks against others. `race` lets networks see images in rounds, and `racing` decides
after each who goes on; `cross_validation` measures with heads; `transferability` holds the formulas of what needs none;
`known_sources` is the shipped table of what networks were trained on; `footprint` measures what running a network costs
the device. Pure numpy: `racing`, `cross_validation`, `transferability`. Training itself is in `edged.learning`.
"""

from edged.lab.sources.known_sources import KnownSource, KnownSources, read_known_sources
from edged.lab.sources.ranker import Ranker, UnaffordableError
from edged.lab.sources.ranking import Ranking, Standing

__all__ = ["KnownSource", "KnownSources", "Ranker", "Ranking", "Standing", "UnaffordableError", "read_known_sources"]
