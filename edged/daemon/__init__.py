"""The running daemon: wiring, the frame loop, and who carries out each command.

* `app`: makes all parts, starts and stops them, and names the handler of every command
* `loop`, `publisher`, `results`, `statistics`, `telemetry`: the way of a frame, from the slot to the broker
* `engine`, `selection`, `switching`, `rehearsal`, `proof`: what answers frames, and how that is changed
* `commands`: the thread that carries commands out; what they do: `frames`, `images`, `models`, `training`, `profiling`,
  `jobs`, `together`; `uploads`: the files that are sent in parts
* `kept_frames`: frames that wait for a label; `announcements`: what the device says of itself
* `storage`, `supervision`, `deadline`: the state disk, systemd, how long a stop may take

Measuring, fitting and ranking are in `edged.lab`, which runs in child processes and is never imported here.
"""

from edged.daemon.app import Daemon
from edged.daemon.deadline import leave_behind

__all__ = ["Daemon", "leave_behind"]
