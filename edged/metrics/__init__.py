"""Metrics for Prometheus: what this daemon has counted and measured, served over HTTP at `/metrics`. Off by default.

* `tally`: counts results and jobs as they come, within bounds; pure
* `snapshot`: all that one scrape tells; pure
* `exposition`: a snapshot under the names that Prometheus sees; the only file that knows prometheus_client, an extra
* `server`: the HTTP server

`edged.daemon.metrics` takes the snapshots.
"""

from edged.metrics.exposition import Exposition, check_library
from edged.metrics.server import MetricsServer, url
from edged.metrics.snapshot import ModelFacts, Snapshot
from edged.metrics.tally import JobTally, ResultTally

__all__ = [
    "Exposition",
    "JobTally",
    "MetricsServer",
    "ModelFacts",
    "ResultTally",
    "Snapshot",
    "check_library",
    "url",
]
