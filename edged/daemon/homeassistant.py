"""What Home Assistant is told of this device, as it wants it: pure, settings in, one JSON object out.

Device-based MQTT discovery, https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload: one retained
message describes the device and its components, each an entity of a `platform` that reads one of our topics. A template
must render where a key is absent and where a retained message is empty, or Home Assistant logs a warning: `None`
stands for unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edged.contract.discovery import discovery_levels, identifier, safe_name
from edged.contract.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from edged.settings import Settings

Component = dict[str, Any]

_SMALLEST_LR = 0.001
"""Home Assistant takes no smaller step of a number, and none below its minimum."""
_LONGEST_STATE = 255
"""Characters of a state that Home Assistant takes."""


@dataclass(frozen=True)
class Readable:
    """What the sensors of this device can tell: names as in telemetry."""

    power: frozenset[str] = field(default_factory=frozenset)
    temperatures: frozenset[str] = field(default_factory=frozenset)
    throttled: bool = False


def discovery_topic(settings: Settings) -> str:
    """Return the whole topic of the description."""
    return f"{settings.homeassistant.prefix}/{discovery_levels(settings.device.id)}"


def status_topic(settings: Settings) -> str:
    """Return the whole topic on which Home Assistant says `online` when it has started."""
    return f"{settings.homeassistant.prefix}/status"


def describe(
    settings: Settings, components: Mapping[str, Component], gone: Mapping[str, str], *, version: str
) -> dict[str, Any]:
    """Return the description.

    Args:
        settings: The whole configuration.
        components: What `list_components` returned.
        gone: Component → platform of what was described once, and is to disappear.
        version: Of edged.
    """
    return {
        "device": {
            "identifiers": [identifier(settings.mqtt.prefix, settings.device.id)],
            "name": settings.device.id,
            "manufacturer": "edged",
            "model": "Camera with a classifier",
            "sw_version": version,
        },
        "origin": {"name": "edged", "sw_version": version},
        "availability_topic": f"{settings.mqtt.prefix}/{settings.device.id}/state",
        "payload_available": "online",
        "payload_not_available": "offline",
        "components": {**components, **{name: {"platform": platform} for name, platform in gone.items()}},
    }


def list_components(settings: Settings, cameras: Iterable[str], readable: Readable) -> dict[str, Component]:
    """Return component → its entity. Buttons are not among them where commands must be signed: nobody signs them there.

    Args:
        settings: The whole configuration.
        cameras: Those that are configured.
        readable: What the sensors tell.
    """
    base = f"{settings.mqtt.prefix}/{settings.device.id}"
    components: dict[str, Component] = {}
    for camera in cameras:
        regions = camera in settings.cameras and bool(settings.cameras[camera].regions)
        for name, component in _camera(base, camera, pictures=settings.homeassistant.pictures, regions=regions).items():
            components[f"{name}_{safe_name(camera)}"] = component
    components |= _telemetry(f"{base}/telemetry", f"{base}/alert/drift")
    components |= _sensors(f"{base}/telemetry", readable)
    components["model"] = _sensor(
        "Model",
        f"{base}/model",
        _if_any(f"value_json.name[:{_LONGEST_STATE}]"),
        attributes="{'id': value_json.id, 'backbone': value_json.backbone, "
        "'accuracy': value_json.accuracy | default(none), 'previous': value_json.previous | default(none)}",
        icon="mdi:brain",
    )
    if not settings.security.trusted_keys:
        components |= _commands(base)
    for name, component in components.items():
        component["unique_id"] = f"{settings.mqtt.prefix}_{settings.device.id}_{name}"
    return components


def stand_in(settings: Settings, name: str, platform: str) -> Component:
    """Return an entity in the place of one that is gone: it has its id, and neither hears nor says anything."""
    nowhere = f"{settings.mqtt.prefix}/{settings.device.id}/gone"
    topics = dict.fromkeys(
        ("state_topic", "command_topic", "image_topic"), nowhere
    )  # each platform takes what it knows
    return {"platform": platform, "unique_id": f"{settings.mqtt.prefix}_{settings.device.id}_{name}", **topics}


def _camera(base: str, camera: str, *, pictures: bool, regions: bool) -> dict[str, Component]:
    label = f"{base}/label/{camera}"
    percent: dict[str, Any] = {
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "suggested_display_precision": 0,
        "qos": 1,
    }
    found = {
        "label": _sensor(
            f"{camera} label",
            label,
            _if_any(f"value_json.label[:{_LONGEST_STATE}]"),
            attributes="{'since': value_json.since, 'regions': value_json.regions | default([])}"
            if regions
            else "{'since': value_json.since}",
            icon="mdi:eye",
            qos=1,
        ),
        "score": _sensor(
            f"{camera} score", label, _if_any("(value_json.score * 100) | round(1)"), icon="mdi:percent", **percent
        ),
        "familiarity": _sensor(
            f"{camera} familiarity",
            label,
            _where("value_json is defined and value_json.familiarity is defined",
                   "(value_json.familiarity * 100) | round(1)"),
            icon="mdi:account-question",
            **percent,
        ),
    }  # fmt: skip
    if pictures:
        found["picture"] = {
            "platform": "image",
            "name": f"{camera} picture",
            "image_topic": f"{base}/picture/{camera}",
            "content_type": "image/jpeg",
        }
    return found


def _telemetry(telemetry: str, drift: str) -> dict[str, Component]:
    """Return what every device tells of itself."""
    diagnostic = {"state_class": "measurement", "entity_category": "diagnostic"}
    return {
        "fps": _sensor("Frame rate", telemetry, "{{ value_json.fps }}", unit_of_measurement="fps",
                       icon="mdi:filmstrip", **diagnostic),
        "latency": _sensor("Latency", telemetry,
                           _where("value_json.latency_ms is defined", "value_json.latency_ms.p50"),
                           attributes="value_json.latency_ms | default({})", device_class="duration",
                           unit_of_measurement="ms", suggested_display_precision=1, **diagnostic),
        "outbox": _sensor("Unsent messages", telemetry, "{{ value_json.outbox }}", unit_of_measurement="messages",
                          icon="mdi:tray-full", **diagnostic),
        "drift": {
            "platform": "binary_sensor",
            "name": "Drift",
            "device_class": "problem",
            # The alert's own topic is empty where all is well, and then tells nobody who comes later.
            "state_topic": telemetry,
            "value_template": "{{ 'ON' if 'drift' in value_json.alerts | default([]) else 'OFF' }}",
            "json_attributes_topic": drift,
            "json_attributes_template": "{{ ({'since': value_json.since, 'reason': value_json.reason} "
                                        "if value_json is defined else {}) | to_json }}",
        },
    }  # fmt: skip


def _sensors(telemetry: str, readable: Readable) -> dict[str, Component]:
    """Return what only some devices can read."""
    found: dict[str, Component] = {}
    measured = {"state_class": "measurement", "entity_category": "diagnostic"}
    for rail in sorted(readable.power):
        value = f"(value_json.power_mw | default({{}})).get({_text(rail)})"
        found[f"power_{safe_name(rail)}"] = _sensor(
            f"Power {rail}", telemetry, _where(f"{value} is not none", f"{value} / 1000"), device_class="power",
            unit_of_measurement="W", suggested_display_precision=2, **measured,
        )  # fmt: skip
    for zone in sorted(readable.temperatures):
        value = f"(value_json.temp_c | default({{}})).get({_text(zone)})"
        found[f"temperature_{safe_name(zone)}"] = _sensor(
            f"Temperature {zone}", telemetry, f"{{{{ {value} }}}}", device_class="temperature",
            unit_of_measurement="°C", suggested_display_precision=1, **measured,
        )  # fmt: skip
    if readable.throttled:
        throttled = "value_json.throttled"
        found["throttled"] = {
            "platform": "binary_sensor",
            "name": "Throttled",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": telemetry,
            "value_template": _where(f"{throttled} is defined", f"('ON' if {throttled} else 'OFF')"),
        }
    return found


def _commands(base: str) -> dict[str, Component]:
    """Return what one can do to the device. A press has an id and a time of its own, as every command has."""
    button = {"platform": "button", "entity_category": "config", "qos": 1}
    return {
        "retrain": {**button, "name": "Retrain", "icon": "mdi:school", "command_topic": f"{base}/cmd/retrain",
                    "command_template": _command()},
        "rollback": {**button, "name": "Roll back", "icon": "mdi:undo", "command_topic": f"{base}/cmd/rollback",
                     "command_template": _command()},
        "lr": {
            "platform": "number",
            "name": "Learning rate",
            "icon": "mdi:tune",
            "entity_category": "config",
            "qos": 1,
            "mode": "box",
            "min": _SMALLEST_LR,
            "max": _largest_lr(),
            "step": _SMALLEST_LR,
            "state_topic": f"{base}/info",
            "value_template": _where(f"value_json is defined and value_json.lr | default(0) >= {_SMALLEST_LR}",
                                     "value_json.lr"),
            "command_topic": f"{base}/cmd/set",
            "command_template": _command('"lr": {{ value }}'),
        },
    }  # fmt: skip


def _command(arguments: str = "") -> str:
    """Return the template of a command: its id is that moment in microseconds, and something random."""
    moment = "{{ (as_timestamp(utcnow()) * 1000000) | int }}-{{ range(100000) | random }}"
    return f'{{"id": "ha-{moment}", "ts": "{{{{ utcnow().isoformat() }}}}", "args": {{{arguments}}}}}'


def _largest_lr() -> float:
    schema = Hyperparameters.model_json_schema()["properties"]["lr"]
    return float(schema["maximum"])


def _sensor(name: str, topic: str, template: str, *, attributes: str = "", **more: Any) -> Component:
    """Return a sensor; `attributes`: a mapping, in the language of templates."""
    component: Component = {"platform": "sensor", "name": name, "state_topic": topic, "value_template": template}
    if attributes:
        component["json_attributes_topic"] = topic
        component["json_attributes_template"] = f"{{{{ ({attributes} if value_json is defined else {{}}) | to_json }}}}"
    return {**component, **more}


def _if_any(expression: str) -> str:
    """Return a template for a retained message, which is empty where it was taken back."""
    return _where("value_json is defined", expression)


def _where(condition: str, expression: str) -> str:
    return f"{{{{ {expression} if {condition} else none }}}}"


def _text(name: str) -> str:
    """Return a name as a text in the language of templates."""
    return json.dumps(name)
