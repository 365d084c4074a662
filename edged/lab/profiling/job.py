"""`python -m edged.lab.profiling.job`: a profile as a child process of the daemon, at low priority."""

from __future__ import annotations

from collections.abc import Callable

from edged.contract.requests import ProfileRequest
from edged.jobs.process import serve
from edged.jobs.profile import PROFILE, ProfileOutcome, ProfileProgress


def run(request: ProfileRequest, tell: Callable[[ProfileProgress], None]) -> ProfileOutcome:
    """Profile one model."""
    from edged.lab.profiling.profile import profile

    report = profile(request, lambda stage, fraction: tell(ProfileProgress(stage=stage, fraction=fraction)))
    return ProfileOutcome(report=report)


if __name__ == "__main__":
    serve(PROFILE, run)
