"""What jtop's properties hold, across jetson-stats 4.0 to 7.x (and the flat `stats` of 3.x), as a Reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edged.sensors.sysfs import plausible_c
from edged.types import Reading

Properties = Mapping[str, Any]
"""Property name of `jtop.jtop` → its value. Absent: this version lacks it."""

PROPERTIES = ("power", "temperature", "cpu", "gpu", "memory", "ram", "emc", "stats")
"""The properties that `parse` looks at."""


def parse(properties: Properties, *, throttled: bool | None = None) -> Reading:
    """Make a reading of jtop's properties.

    Args:
        properties: Some of `PROPERTIES`; the flat "stats" is asked only for what the others lack.
        throttled: jtop does not know this; it is handed on.
    """
    stats = _mapping(properties.get("stats"))
    load = {
        "cpu": _cpu_load(properties, stats),
        "gpu": _gpu_load(properties, stats),
        "memory": _memory_load(properties),
    }
    clock = {"cpu": _cpu_mhz(properties), "gpu": _gpu_mhz(properties), "emc": _emc_mhz(properties)}
    return Reading(
        power_mw=_power_mw(properties.get("power")) or _stats_power_mw(stats),
        temp_c=dict(_temperatures(properties, stats)),
        load={name: fraction for name, fraction in load.items() if fraction is not None},
        clock_mhz={name: mhz for name, mhz in clock.items() if mhz is not None},
        throttled=throttled,
    )


def _power_mw(power: Any) -> dict[str, int]:
    """Return milliwatts by rail from 4.1+'s {"rail": …, "tot": …} or the (total, rails) pair of 4.0 and before.

    jtop takes the board's input rail out of the others and calls it the total: it gets its name back where jtop
    tells it ("VDD_IN", "POM_5V_IN", "VIN"), and is "TOT" where it does not, or where jtop added the rails up.
    """
    if isinstance(power, Mapping):
        total, rails = _mapping(power.get("tot")), _mapping(power.get("rail"))
    elif isinstance(power, tuple | list) and len(power) == 2:
        total, rails = _mapping(power[0]), _mapping(power[1])
    else:
        return {}
    milliwatts: dict[str, int] = {}
    for name, rail in rails.items():
        if (value := _rail_mw(_mapping(rail))) is not None:
            milliwatts[str(name)] = value
    if (value := _rail_mw(total)) is not None and (milliwatts or "name" in total):
        milliwatts[str(total.get("name", "TOT"))] = value
    return milliwatts


def _rail_mw(rail: Mapping[str, Any]) -> int | None:
    """Return what a rail draws now: "power" since 4.1, "cur" before; a rail that is off or without voltage: None."""
    value = _number(rail.get("power", rail.get("cur")))
    if value is None or value < 0 or not rail.get("online", True) or (value == 0 and rail.get("volt") == 0):
        return None
    return round(value)


def _stats_power_mw(stats: Mapping[str, Any]) -> dict[str, int]:
    """Return the rails of `stats`: {"Power VDD_CPU": …, "Power TOT": …} since 4.1, "power cur" before."""
    values = {name.removeprefix("Power "): _number(stats[name]) for name in stats if name.startswith("Power ")}
    if not values:
        values = {"TOT": _number(stats.get("power cur"))}
    return {name: round(value) for name, value in values.items() if value is not None and value >= 0}


def _temperatures(properties: Properties, stats: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    zones = _mapping(properties.get("temperature")) or {
        name.removeprefix("Temp "): value for name, value in stats.items() if name.startswith("Temp ")
    }
    for name, zone in zones.items():
        online, value = (zone.get("online", True), zone.get("temp")) if isinstance(zone, Mapping) else (True, zone)
        celsius = _number(value)
        if online and celsius is not None and plausible_c(celsius) and not str(name).upper().startswith("PMIC"):
            yield str(name), round(celsius, 2)


def _cores(properties: Properties) -> list[Mapping[str, Any]]:
    """Return the cores that are online. "total" is left alone: some versions take it from the wrong moment."""
    cpu = _mapping(properties.get("cpu"))
    cores = cpu["cpu"] if isinstance(cpu.get("cpu"), tuple | list) else list(cpu.values())
    return [core for core in cores if isinstance(core, Mapping) and core and core.get("online", True)]


def _cpu_load(properties: Properties, stats: Mapping[str, Any]) -> float | None:
    busy = []
    for core in _cores(properties):
        idle, used = _number(core.get("idle")), _number(core.get("val"))
        if idle is not None or used is not None:
            busy.append(100 - idle if idle is not None else used or 0.0)
    if not busy:
        values = (_number(value) for name, value in stats.items() if name.startswith("CPU") and name[3:].isdigit())
        busy = [value for value in values if value is not None]
    return _fraction(sum(busy) / len(busy)) if busy else None


def _gpu_load(properties: Properties, stats: Mapping[str, Any]) -> float | None:
    for gpu in _mapping(properties.get("gpu")).values():
        percent = _number(_mapping(_mapping(gpu).get("status")).get("load", _mapping(gpu).get("val")))
        if percent is not None:
            return _fraction(percent)
    percent = _number(stats.get("GPU", stats.get("GPU1")))
    return None if percent is None else _fraction(percent)


def _memory_load(properties: Properties) -> float | None:
    ram = _mapping(_mapping(properties.get("memory")).get("RAM")) or _mapping(properties.get("ram"))
    used, total = _number(ram.get("used", ram.get("use"))), _number(ram.get("tot"))
    return _fraction(100 * used / total) if used is not None and total else None


def _cpu_mhz(properties: Properties) -> int | None:
    clocks = [_mhz(_mapping(core.get("freq")).get("cur", core.get("frq"))) for core in _cores(properties)]
    return max((mhz for mhz in clocks if mhz is not None), default=None)


def _gpu_mhz(properties: Properties) -> int | None:
    for gpu in _mapping(properties.get("gpu")).values():
        if mhz := _mhz(_mapping(_mapping(gpu).get("freq")).get("cur", _mapping(gpu).get("frq"))):
            return mhz
    return None


def _emc_mhz(properties: Properties) -> int | None:
    emc = _mapping(_mapping(properties.get("memory")).get("EMC")) or _mapping(properties.get("emc"))
    return _mhz(emc.get("cur", emc.get("frq")))


def _mhz(value: Any) -> int | None:
    """Return megahertz. jtop counts in kHz, except where NVML answers (Thor): there in MHz.

    No Jetson clock lies below 10 MHz or above 10 GHz, so the number tells. 0 and 1 are jtop's "unknown".
    """
    clock = _number(value)
    if clock is None or clock <= 1:
        return None
    return round(clock if clock < 10_000 else clock / 1000)


def _fraction(percent: float) -> float:
    return round(min(max(percent / 100, 0.0), 1.0), 4)


def _number(value: Any) -> float | None:
    """Return a number that is one: "OFF", None, booleans, nan and infinity are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
