"""edgectl: look at devices and command them over MQTT, from a workstation."""

from edged.ctl.cli import main

__all__ = ["main"]
