"""edgectl, installed alone: becomes `edgectl/__init__.py` of the light distribution, see pyproject.toml beside it.

Its modules are a copy of its own, in `lib`; an edged in the same environment is neither used nor hidden.
"""

import sys
from pathlib import Path


def main() -> int:
    """Run edgectl; return the exit code."""
    sys.path.insert(0, str(Path(__file__).with_name("lib")))
    from edged.ctl import main as edgectl

    return edgectl()
