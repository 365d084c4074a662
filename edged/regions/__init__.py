"""What of a frame is classified by itself: where something moves, and fixed regions; pure, without clock or network.

`Motion` proposes boxes, `Tracker` names what moves from frame to frame, `fixed` and `grid` are regions that stay,
`Turns` says which come first where a frame has more of them than can be classified, `crop` what a network gets to see.

The thread that reads a camera finds its regions; `edged.daemon.regions` puts the parts together.
"""

from edged.regions.boxes import crop, overlap
from edged.regions.fixed import fixed, grid
from edged.regions.motion import Motion
from edged.regions.tracks import MOST_TRACKS, Expected, Tracker
from edged.regions.turns import Turns

__all__ = ["MOST_TRACKS", "Expected", "Motion", "Tracker", "Turns", "crop", "fixed", "grid", "overlap"]
