"""Which of the installed networks a training had better start from: estimates, and exact measurements.

`ranker` looks at labeled images and ranks; `ranking` is what comes out, with its report; `known_sources` is the shipped
table of what networks were trained on; `transferability` holds the formulas of the estimates, `cross_validation`
measures exactly. Training itself is in `edged.learning`.
"""

from edged.lab.sources.known_sources import KnownSource, KnownSources, read_known_sources
from edged.lab.sources.ranker import Ranker
from edged.lab.sources.ranking import Ranking, Standing

__all__ = ["KnownSource", "KnownSources", "Ranker", "Ranking", "Standing", "read_known_sources"]
