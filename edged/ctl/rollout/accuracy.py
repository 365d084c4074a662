"""How well the model that answers on a device names that device's labeled images.

The one place to change where a device can be asked: `verdict` compares what is returned here before a switch with what
is returned after it, and says that the accuracy was not judged where either is None.
"""

from __future__ import annotations

from edged.ctl.client import Client


def accuracy_on(client: Client, device: str) -> float | None:
    """Return the share of its labeled images that the model which answers names rightly, 0..1; None: it does not say.

    No command does that and no more. `models_judge` judges a model that was learned together, and lets it answer, too:
    it goes on by itself when the workstation dies, and could switch a device that was taken back meanwhile.
    """
    del client, device
    return None
