"""How well the model that answers on a device names that device's labeled images.

The one place to change where a device can be asked: `verdict` compares what is returned here before a switch with what
is returned after it, and says that the accuracy was not judged where either is None.
"""

from __future__ import annotations

from edged.ctl.client import Client


def accuracy_on(client: Client, device: str) -> float | None:
    """Return the share of its labeled images that the model which answers names rightly, 0..1; None: it does not say.

    No command judges a model on the images of a device: a training's report tells the accuracy of what it has trained,
    and a model that was pushed was not trained there.
    """
    del client, device
    return None
