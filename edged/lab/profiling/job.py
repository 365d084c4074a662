"""`python -m edged.lab.profiling.job`: a profile as a child process of the daemon, at low priority."""

from __future__ import annotations

from collections.abc import Callable

from edged.jobs.process import serve
from edged.jobs.requests import PROFILE, ProfileOutcome, ProfileProgress, ProfileRequest


def run(request: ProfileRequest, tell: Callable[[ProfileProgress], None]) -> ProfileOutcome:
    """Profile one model."""
    from edged.lab.profiling.profiler import profile

    report = profile(request, lambda stage, fraction: tell(ProfileProgress(stage=stage, fraction=fraction)))
    return ProfileOutcome(report=report.to_json())


if __name__ == "__main__":
    serve(PROFILE, run)
