"""Several networks that take turns: the engine that asks a fitted strategy, and the governor that keeps the budget."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.daemon.engine import Engine, read_familiarity
from edged.errors import ConfigError, ModelError
from edged.selection.energy import EnergyMeter
from edged.selection.features import extract
from edged.selection.files import load
from edged.selection.governor import Budget, Governor, Measured, hottest, total_power_mw
from edged.selection.pool import common_labels, find_bundles, fingerprint, open_member
from edged.selection.recalibration import Recalibration
from edged.selection.strategy import ByCascade
from edged.types import Inference
from edged.vision.network import Outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edged.selection.files import Fitted
    from edged.selection.pool import Member
    from edged.selection.strategy import Strategy
    from edged.settings import Settings
    from edged.store import Bundle, Store
    from edged.types import Image, Reading, Vector

log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 1.0
"""The main thread must come back in time for the watchdog and for commands."""


@dataclass(frozen=True, slots=True)
class Selected(Outputs):
    """What is left of a frame that a strategy has classified.

    `scores` are the answering network's own, `bottleneck` the witness's; `invoke_ms` is the time of all networks,
    features and decisions.

    Attributes:
        answer: (classes,) the strategy's scores, in the pool's order of classes.
        network: Name of the network that answered.
        witness: The engine whose bottleneck it is.
    """

    answer: Vector
    network: str
    witness: Engine


def _finite(threshold: float) -> float | None:
    """JSON knows no infinity: None stands for "never ask the next network"."""
    return round(threshold, 4) if np.isfinite(threshold) else None


class _Frame:
    """One frame, as a strategy sees it: a network runs when it is asked, and its input is made then."""

    def __init__(self, image: Image, prepared: Image, first: int, selection: Selection) -> None:
        self._image, self._prepared, self._first, self._selection = image, prepared, first, selection
        self.outputs: dict[int, Outputs] = {}

    def run(self, network: int) -> Vector:
        member = self._selection.members[network]
        prepared = self._prepared if network == self._first else member.network.prepare(self._image)
        outputs = self.outputs[network] = member.network.invoke(prepared)
        return member.common(member.network.decode(outputs))

    def features(self, names: Sequence[str]) -> Vector:
        return extract(self._image, names)


class Selection:
    """The pool, the strategy, the operating point, and what telemetry says of them.

    The main thread classifies and counts; the telemetry thread reads the counts and sets the point.

    Args:
        strategy: Name and strategy.
        members: The pool's networks that it may run, by index.
        costs_ms: Mean time of each operating point, as measured when it was fitted.
        budget: See `[selection]`.
        ceiling: The operating point while no budget asks for a cheaper one; None: the strategy's default.
        audit: Share of the frames on which all networks of a cascade run, for its recalibration, 0..1.
        unknown: Whether frames that show nothing taught are to be told.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        members: dict[int, Member],
        costs_ms: Sequence[float],
        budget: Budget,
        ceiling: int | None = None,
        audit: float = 0.0,
        *,
        unknown: bool = False,
    ) -> None:
        self.name, self.strategy, self.members = name, strategy, members
        self.first = strategy.networks[0]
        self._budget = budget
        self._governor = Governor(costs_ms, strategy.default if ceiling is None else ceiling, budget)
        self.point = self._governor.point
        self._audit = audit
        self._recalibration = Recalibration(strategy.cascade) if audit and isinstance(strategy, ByCascade) else None
        self._dice = random.Random(0)
        self._level, self._pauses = self._governor.level, 0.0
        self._owed, self._ready_s = 0.0, 0.0
        self._energy = EnergyMeter()
        self._energy_seen = (0.0, 0.0)
        self._answers = dict.fromkeys(members, 0)
        self._busy_ms = 0.0
        self._seen: tuple[dict[int, int], float] = (dict(self._answers), 0.0)
        self._told: set[str] = set()
        self.witnesses = {
            index: Engine(
                replace(member.bundle, labels=common_labels(member.bundle.labels)),
                member.network,
                read_familiarity(member.bundle, member.network.features) if unknown else None,
            )
            for index, member in members.items()
        }

    def classify(self, prepared: Image, image: Image) -> Selected:
        """Classify one frame; called on the main thread."""
        if (early_s := self._ready_s - time.monotonic()) > 0:
            time.sleep(early_s)
        begin = time.perf_counter_ns()
        self.point = self._next_point()
        frame = _Frame(image, prepared, self.first, self)
        answer, network = self._answer(frame)
        elapsed_ms = (time.perf_counter_ns() - begin) / 1e6
        self._answers[network] += 1
        self._busy_ms += elapsed_ms
        self._ready_s = time.monotonic() + min(self._pauses * elapsed_ms / 1000, _LONGEST_PAUSE_S)
        # The first stage of a cascade sees every frame: its bottleneck is the one that is always there.
        witness = self.first if self.first in frame.outputs else network
        return Selected(
            frame.outputs[network].scores,
            frame.outputs[witness].bottleneck,
            elapsed_ms,
            answer,
            self.members[network].name,
            self.witnesses[witness],
        )

    def _next_point(self) -> int:
        """Spread the two points around the level evenly over the frames (error diffusion)."""
        low = int(max(self._level, 0.0))
        self._owed += max(self._level, 0.0) - low
        if self._owed >= 1:
            self._owed -= 1
            return low + 1
        return low

    def _answer(self, frame: _Frame) -> tuple[Vector, int]:
        """Ask the strategy; now and then all of a cascade's networks, to see whether it doubts as much as it should."""
        recalibration = self._recalibration
        if recalibration is None or self._dice.random() >= self._audit:
            return self.strategy.classify(frame, self.point)
        steps = recalibration.cascade.classify(frame.run, -1.0)
        recalibration.audit(steps)
        self.strategy = ByCascade(recalibration.cascade)
        return steps.answer, steps.network

    def sample(self, reading: Reading) -> None:
        """Integrate the machine's power; called on the telemetry thread, also between two messages."""
        self._energy.add(total_power_mw(reading), time.monotonic())

    def telemetry(self, reading: Reading) -> dict[str, Any]:
        """Let the governor decide and return `telemetry.selection`; called on the telemetry thread."""
        answers, busy_ms = dict(self._answers), self._busy_ms
        before, busy_before = self._seen
        self._seen = answers, busy_ms
        counts = {index: answers[index] - before[index] for index in answers}
        frames = sum(counts.values())
        mean_ms = (busy_ms - busy_before) / frames if frames else None
        power = total_power_mw(reading)
        temperature = hottest(reading)
        self._tell_unreadable(power, temperature)
        self.sample(reading)
        mean_mw = self._energy.take_mean_mw()
        now = Measured(mean_ms, power if mean_mw is None else mean_mw, temperature, reading.throttled)
        self._governor.step(now, time.monotonic())
        self._level, self._pauses = self._governor.level, self._governor.pauses
        message: dict[str, Any] = {
            "strategy": self.name,
            "state": self._governor.state,
            "reason": self._governor.reason,
            "point": max(0, int(self._level)),
            "level": round(self._level, 3),
            "points": self.strategy.points,
            "mix": {self.members[index].name: round(n / frames, 4) for index, n in counts.items() if n},
        }
        if mean_ms is not None:
            message["mean_ms"] = round(mean_ms, 3)
        joules, seconds = self._energy.joules, self._energy.seconds
        if frames and seconds > self._energy_seen[1]:
            message["energy_j"] = round(joules, 3)
            message["frame_mj"] = round((joules - self._energy_seen[0]) * 1000 / frames, 1)
        self._energy_seen = joules, seconds
        if self._recalibration is not None:
            message["audits"] = self._recalibration.audits
            message["doubted"] = [round(factor, 3) for factor in self._recalibration.factors]
            message["threshold"] = _finite(self._recalibration.cascade.thresholds[message["point"]])
        return message

    def _tell_unreadable(self, power: float | None, temperature: float | None) -> None:
        for key, limit, value, what in (
            ("max_power_mw", self._budget.max_power_mw, power, "power"),
            ("max_temp_c", self._budget.max_temp_c, temperature, "temperature"),
        ):
            if limit is not None and value is None and key not in self._told:
                self._told.add(key)
                log.warning("selection.%s = %g: this machine has no %s sensor; the limit is not kept", key, limit, what)


@dataclass(frozen=True, slots=True, eq=False)
class SelectingEngine(Engine):
    """An engine in front of several networks; `network` is the one whose input cameras prepare."""

    selection: Selection = field(kw_only=True)

    def invoke(self, prepared: Image, image: Image | None = None) -> Outputs:
        """Classify a frame by as many networks as the strategy asks; ModelError when the runtime fails."""
        return self.selection.classify(prepared, prepared if image is None else image)

    def decode(self, outputs: Outputs) -> Inference:
        """Return the strategy's answer with the witness's embedding."""
        if not isinstance(outputs, Selected):
            raise TypeError("outputs of another engine")
        affine = outputs.witness.network.bottleneck_affine
        return Inference(outputs.answer, affine.dequantize(outputs.bottleneck), outputs.invoke_ms, outputs.network)

    def witness(self, outputs: Outputs) -> Engine:
        """Return the engine of the network whose embedding `decode` gives."""
        return outputs.witness if isinstance(outputs, Selected) else self


def open_selection(settings: Settings, store: Store, current: Bundle) -> SelectingEngine | None:
    """Load the configured strategy and its networks.

    Returns:
        None where the model that runs names other classes than the strategy was fitted for (one line in the log says
        so): a retrained model goes before.

    Raises:
        ConfigError: Nothing is fitted, a network is gone, a runtime is not installed, or `selection.pool` names another
            pool.
        ModelError: A network or the fitted files are damaged.
    """
    wanted = settings.selection
    fitted = load(settings.storage.state_dir, wanted.premodel)
    bundles = fitted.bundles(store)
    _check_pool(settings, store, fitted)
    if fingerprint(current.labels) != fitted.labels:
        log.warning(
            "selection is off: %s (%s) names other classes than premodel %s was fitted for; "
            "fit one for it with `edged premodel train`",
            current.name,
            current.id,
            fitted.name,
        )
        return None
    name = fitted.chosen[wanted.strategy]
    strategy = fitted.strategies[name]
    grey = np.full((64, 64, 3), 127, np.uint8)
    members = {
        index: open_member(bundles[index], fitted.networks[index], settings.model, grey) for index in strategy.networks
    }
    costs = [point["mean_ms"] for point in fitted.points[name]]
    budget = Budget(wanted.max_mean_ms, wanted.max_power_mw, wanted.max_temp_c)
    ceiling = strategy.accurate if wanted.point == "accurate" else strategy.default
    selection = Selection(
        name, strategy, members, costs, budget, ceiling, wanted.audit, unknown=settings.model.unknown > 0
    )
    log.info(
        "selection %s of %s, %.0f MB",
        name,
        ", ".join(member.name for member in members.values()),
        sum(member.memory_mb for member in members.values()),
    )
    first = selection.witnesses[selection.first]
    if settings.model.unknown and isinstance(strategy, ByCascade) and first.familiarity is None:
        log.warning(
            "selection: %s sees every frame and does not know what it was taught: nothing is called unknown",
            first.bundle.name,
        )
    bundle = replace(current, labels=common_labels(current.labels))
    return SelectingEngine(bundle, members[selection.first].network, selection=selection)


def _check_pool(settings: Settings, store: Store, fitted: Fitted) -> None:
    if not settings.selection.pool:
        return
    try:
        named, _ = find_bundles(store, settings.selection.pool, settings.model.name)
    except ModelError as error:  # the networks that were fitted were found whole: a name is wrong
        raise ConfigError(f"selection.pool: {error}") from error
    if {bundle.id for bundle in named} != set(fitted.ids):
        raise ConfigError(
            f"selection.pool names {', '.join(bundle.name for bundle in named)}, but premodel {fitted.name} was fitted "
            f"for {', '.join(fitted.networks)}; fit it anew with `edged premodel train`"
        )
