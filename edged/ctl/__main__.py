"""`python -m edged.ctl` is `edgectl`."""

import sys

from edged.ctl import main

if __name__ == "__main__":
    sys.exit(main())
