"""Where Home Assistant finds the description of a device, and by what it tells one device from another.

What the description says is in `edged.daemon.homeassistant`.
"""

from __future__ import annotations

import hashlib
import re

DEFAULT_PREFIX = "homeassistant"
"""First level of the topics on which Home Assistant looks for devices, where it is not told otherwise."""


def discovery_levels(device: str) -> str:
    """Return the topic of a device's description, below the discovery prefix."""
    return f"device/{safe_name(device)}/config"


def is_description(topic: str, payload: bytes) -> bool:
    """Whether this is a device's description: by the end of its topic, and as an object of JSON."""
    return payload.startswith(b"{") and re.search(r"(?:^|/)device/[A-Za-z0-9_-]+/config$", topic) is not None


def identifier(prefix: str, device: str) -> str:
    """Return what Home Assistant knows a device by; `prefix`: the first level of edged's own topics."""
    return f"{prefix}_{device}"


def safe_name(name: str) -> str:
    """Return a name as Home Assistant takes it in topics and ids; different ones stay different."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return name if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:4]}"
