"""A roll-out from whatever step it has come to: wave by wave, or everything back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edged.ctl.choice import Choice
from edged.ctl.client import Client
from edged.ctl.each import for_each
from edged.ctl.errors import AccessRefusedError, NoAnswerError, RejectedError, UnreachableError
from edged.ctl.fleet import NAMED, Fleet, listed, look
from edged.ctl.rollout.accuracy import accuracy_on
from edged.ctl.rollout.observation import Watch, trouble
from edged.ctl.rollout.record import OPEN, TOUCHED, RecordFile
from edged.ctl.rollout.step import Send, take_back, truth, use
from edged.ctl.rollout.telling import beside, medians, reason, span
from edged.ctl.rollout.verdict import ENOUGH, Accuracy, Measured, Sample, ends, judge, judge_accuracy
from edged.ctl.rollout.watching import longest, watching
from edged.plural import counted
from edged.terminal.program import DONE, FAILED
from edged.terminal.progress import progress
from edged.terminal.text import print_json, print_line

SENT_AT_A_TIME = 8
"""Devices that a model is sent to at once: a window of each is on its way."""


class Conductor:
    """Takes one roll-out as far as it goes.

    Args:
        client: An open client.
        file: Its claimed file.
        send: Sends the model to a device.
        replace: Whether it takes the place of an installed model of its name, so that one that is there may be another.
        as_json: A line of JSON for each event, for machines.
    """

    def __init__(self, client: Client, file: RecordFile, send: Send, *, replace: bool, as_json: bool) -> None:
        self._client = client
        self._file = file
        self._send = send
        self._replace = replace
        self._json = as_json
        self._here: set[str] = set()
        """Devices that were switched by this process: what restarts there was seen."""
        self._tried: set[str] = set()

    def run(self) -> int:
        """Go on with it, to its end.

        Returns:
            The exit code.

        Raises:
            NoAnswerError: No canary is online.
            UnreachableError, AccessRefusedError: The broker is away, or refuses this user; the text tells how to go on.
            CommandError: The file cannot be written.
            KeyboardInterrupt: Ctrl-C; where it stands was told.
        """
        with self._how_to_go_on():
            return self._back() if self._file.record.status == "going back" else self._run()

    def back(self) -> int:
        """Take everything back.

        Returns:
            The exit code: `FAILED` where a device could not be reached, or the model was worse.

        Raises:
            UnreachableError, AccessRefusedError, CommandError, KeyboardInterrupt: As `run`.
        """
        with self._how_to_go_on():
            return self._back()

    @contextmanager
    def _how_to_go_on(self) -> Iterator[None]:
        """Tell where the roll-out stands, and how to go on with it, where it is interrupted or the broker is away."""
        try:
            yield
        except KeyboardInterrupt:
            self._tell("stopped", self._stopped())
            raise
        except (UnreachableError, AccessRefusedError) as error:
            if self._json:
                self._tell("stopped", "")
            raise type(error)(f"{error}; {self._stopped()}") from error

    def _run(self) -> int:
        record = self._file.record
        if doomed := record.of("going back"):
            self._take_back(doomed)
        for number, wave in enumerate(record.waves):
            canaries = record.canary and number == 0
            of = len(record.waves) - record.canary
            title = "canaries" if canaries else f"wave {number + (not record.canary)} of {of}"
            if not self._wave(title, wave, canaries=canaries):
                return self._back()
        # Those that were offline when their wave came, or from the beginning, and are back by now.
        while late := sorted((self._online() & set(record.of(*OPEN))) - self._tried):
            if not self._wave("those that came later", late, canaries=False):
                return self._back()
        return self._end()

    def _back(self) -> int:
        record = self._file.record
        if record.status != "going back":
            self._file.change(status="going back")
        self._take_back(record.of(*TOUCHED))
        left = record.of(*TOUCHED)
        if left:
            self._tell(
                "left",
                f"not taken back: {listed(left)}; `edgectl rollout resume {record.id}` tries again",
                devices=left,
            )
            return FAILED
        self._file.change(status="back")
        count = len(record.of("back"))
        self._tell("back", f"{counted(count, 'device')} taken back" if count else "nothing was to be taken back")
        return FAILED if record.why is not None else DONE

    def _wave(self, title: str, wave: Sequence[str], *, canaries: bool) -> bool:
        """Take a wave as far as it goes.

        Returns:
            Whether the roll-out goes on; False: everything is to be taken back, and why is in the record.

        Raises:
            NoAnswerError: A canary is offline.
        """
        devices = self._file.record.devices
        if self._over(wave, canaries=canaries):  # of what was known when it was interrupted
            return False
        online = self._online()
        here = [one for one in wave if devices[one].phase in OPEN and one in online]
        self._tried.update(here)
        if here:
            self._tell("wave", f"{title}: {listed(here)}", wave=title, devices=here)
        if canaries:
            self._want([one for one in wave if devices[one].phase in OPEN and one not in online])
        self._measure_before([one for one in here if devices[one].baseline is None and devices[one].phase == "waiting"])
        if canaries:
            self._want([one for one in here if devices[one].phase == "waiting" and devices[one].baseline is None])
        failed = self._switch_all([one for one in here if devices[one].phase in OPEN])
        if self._over(wave, canaries=canaries, more=failed):
            return False
        worse = self._hold([one for one in here if devices[one].phase == "switched"], wave, canaries=canaries)
        if self._over(wave, canaries=canaries, more=worse):
            return False
        self._take_back(worse)
        return True

    def _over(self, wave: Sequence[str], *, canaries: bool, more: Sequence[str] = ()) -> bool:
        """Whether too many of a wave are worse; then the record says why."""
        record = self._file.record
        tried = [one for one in wave if record.devices[one].phase != "waiting"]
        bad = [one for one in tried if record.devices[one].phase in ("failed", "back", "going back") or one in more]
        if not ends(len(bad), len(tried), canaries=canaries):
            return False
        reasons = "; ".join(f"{one}: {record.devices[one].why}" for one in bad[:NAMED])
        self._file.change(status="going back", why=reasons)
        many = "" if canaries else f" {len(bad)} of {len(tried)} devices of the wave are worse;"
        self._tell("worse", f"rolled back:{many} {reasons}", devices=bad, why=reasons)
        return True

    @staticmethod
    def _want(absent: Sequence[str]) -> None:
        """Raise NoAnswerError where canaries are offline: nothing follows before they have been tried."""
        if absent:
            raise NoAnswerError(f"canaries are offline: {listed(absent)}; the same command goes on when they are back")

    def _switch_all(self, devices: Sequence[str]) -> list[str]:
        """Let devices answer with the new model, and return those that do not."""
        failed = []
        for device, why in self._each(devices, self._switch):
            if why is not None:
                failed.append(device)
                self._tell("failed", f"  {device}: {why}", device=device, why=why)
        record = self._file.record
        if answering := [one for one in devices if record.devices[one].phase == "switched"]:
            line = f"  {record.name} ({record.model}) answers on {listed(answering)}"
            self._tell("switched", line, devices=answering)
        return failed

    def _measure_before(self, devices: Sequence[str]) -> None:
        """Watch devices with their old models; one that cannot be judged is left alone."""
        record = self._file.record
        if not devices:
            return
        watch = Watch(devices)
        self._tell("baseline", f"  measuring for {span(record.baseline_s)} what they are like before", devices=devices)
        with progress(f"before, {counted(len(devices), 'device')}", quiet=self._json) as tell:
            for share in watching(self._client, watch, record.baseline_s):
                tell(share, text=beside(watch, devices), stage="before")
        changes: dict[str, dict[str, Any]] = {}
        for device in devices:
            one = watch.devices[device]
            measured = Measured.of(one.samples)
            if one.online is False:
                changes[device] = {"why": "offline"}  # it waits on
                self._tell("offline", f"  {device}: offline", device=device)
            elif measured.messages < ENOUGH:
                told = counted(measured.messages, "telemetry message")
                why = f"cannot be judged: it sent {told} in {span(longest(record.baseline_s))}"
                changes[device] = {"phase": "failed", "why": why}
                self._tell("failed", f"  {device}: {why}", device=device, why=why)
            else:
                changes[device] = {"boot": one.boot, "alerts": sorted(one.alerts), "baseline": measured}
                self._tell("before", f"  {device}: {medians(measured)}", device=device, measured=measured.model_dump())
        self._file.change_each(changes)

    def _switch(self, device: str) -> str | None:
        """Install the model on one device and let it answer, as far as that is still to do; on a thread of many.

        Returns:
            Why it does not answer there; None: it does.
        """
        one = self._file.record.devices[device]
        if one.phase == "waiting" and one.baseline is None:
            return None  # it went offline meanwhile
        try:
            self._install_and_use(device)
        except RejectedError as error:
            self._file.change(device, phase="failed", why=reason(device, error))
        except NoAnswerError as error:  # it may have done what it was asked for: its phase stays
            self._file.change(device, why=reason(device, error))
        else:
            return one.why if one.phase in ("failed", "back") else None
        return one.why

    def _install_and_use(self, device: str) -> None:
        record = self._file.record
        one = record.devices[device]
        known = truth(self._client, device)
        if known.current == record.model:
            unasked = one.phase in ("waiting", "installing", "installed")
            self._file.change(device, phase="there" if unasked else "switched", why=None)
            return
        if one.phase == "switched":
            self._file.change(device, phase="back", why="went back by itself while nobody watched")
            return
        if one.phase in ("waiting", "installing"):
            self._file.change(device, phase="installing", before=known.current)
            if (self._replace or record.model not in known.ids) and self._send(self._client, device) is None:
                self._file.change(device, phase="failed", why="the model could not be installed")
                return
            self._file.change(device, phase="installed")
        if (why := self._less_accurate(device, known.current)) is not None:
            self._file.change(device, phase="failed", why=why)
            return
        self._file.change(device, phase="switching", before=known.current)
        self._here.add(device)
        use(self._client, device, record.model)
        self._file.change(device, phase="switched", why=None)

    def _less_accurate(self, device: str, current: str | None) -> str | None:
        """Return why a model that is installed must not answer on a device, by the device's own images; None: it may.

        They judge before it answers, so that one that is worse on them never does. What was told before an interruption
        counts if the same model answers still.
        """
        record = self._file.record
        told = record.devices[device].accuracy
        asked = told is None or told.against != current
        if told is None or asked:
            told = accuracy_on(self._client, device, record.model)
            self._file.change(device, accuracy=told)
        why = ", ".join(judge_accuracy(told, record.limits).worse) or None
        if asked and told.numbers is not None and (self._json or why is None):  # people read it in `why`, too
            dumped = told.model_dump(exclude_none=True)
            self._tell("accuracy", f"  {device}: accuracy {told.numbers}", device=device, accuracy=dumped)
        return why

    def _hold(self, devices: Sequence[str], wave: Sequence[str], *, canaries: bool) -> list[str]:
        """Watch devices with the new model; those that are no worse have held.

        Returns:
            Those that are worse; the record says why.
        """
        record = self._file.record
        if not devices:
            return []
        boots = {one: record.devices[one].boot if one in self._here else None for one in devices}
        watch = Watch(devices, boots, skip=1)
        worse: list[str] = []
        judged: dict[str, int] = {}

        def look_at(over: bool) -> None:
            now = time.monotonic()
            for device in devices:
                one = watch.devices[device]
                news = judged.get(device) != len(one.samples) or one.online is False or over
                if device in worse or not news:
                    continue
                judged[device] = len(one.samples)
                why = trouble(one, record.devices[device], record.model, record.limits, now, over=over)
                if why is not None:
                    worse.append(device)
                    measured = Measured.of(one.samples)
                    self._file.change(device, why=why, after=measured)
                    self._tell("worse", f"  {device}: {why}", device=device, why=why, measured=measured.model_dump())

        with progress(f"hold, {counted(len(devices), 'device')}", quiet=self._json) as tell:
            for share in watching(self._client, watch, record.hold_s):
                tell(share, text=beside(watch, devices), stage="hold")
                look_at(over=False)
                if ends(len(worse), len(wave), canaries=canaries):
                    return worse
        look_at(over=True)
        self._held({one: watch.devices[one].samples for one in devices if one not in worse})
        return worse

    def _held(self, samples: Mapping[str, Sequence[Sample]]) -> None:
        """Note that devices have held, and what of them could not be judged."""
        record = self._file.record
        changes: dict[str, dict[str, Any]] = {}
        for device, own in samples.items():
            one, measured = record.devices[device], Measured.of(own)
            accuracy = one.accuracy or Accuracy()
            unjudged = [
                *judge(one.baseline or Measured(messages=0), measured, record.limits).unjudged,
                *judge_accuracy(accuracy, record.limits).unjudged,
            ]
            why = f"not judged: {', '.join(unjudged)}" if unjudged else None
            changes[device] = {"phase": "held", "after": measured, "why": why}
            shown = medians(measured) + ("" if accuracy.numbers is None else f", accuracy {accuracy.numbers}")
            line = f"  {device}: {shown}: holds" + (f" ({why})" if why else "")
            self._tell("held", line, device=device, measured=measured.model_dump(), unjudged=unjudged)
        self._file.change_each(changes)

    def _take_back(self, devices: Sequence[str]) -> None:
        """Let the old models answer again; a device that cannot be reached stays to be taken back."""
        record = self._file.record

        def act(device: str) -> str | None:
            one = record.devices[device]
            self._file.change(device, phase="going back")
            try:
                now = take_back(self._client, device, record.model, one.before)
            except (NoAnswerError, RejectedError) as error:
                return reason(device, error)
            self._file.change(device, phase="back")
            self._tell("taken back", f"  {device}: {now} answers again", device=device, model=now)
            return None

        for device, why in self._each(devices, act):
            if why is not None:
                self._tell("left", f"  {device}: not taken back: {why}", device=device, why=why)

    def _end(self) -> int:
        """Tell what has come of it."""
        record = self._file.record
        now = self._seen()
        for device in record.of("held"):
            model = now.devices[device].model if device in now.devices else None
            if model is not None and model.id != record.model:
                why = f"went back to {model.name} ({model.id}) since"
                self._file.change(device, phase="back", why=why)
                self._tell("failed", f"  {device}: {why}", device=device, why=why)
        done, failed, left = record.of("held", "there"), record.of("failed", "back", "going back"), record.of(*OPEN)
        if not left:
            self._file.change(status="done")
        total = counted(len(record.devices), "device")
        self._tell("end", f"{record.name} ({record.model}) answers on {len(done)} of {total}", devices=done)
        for device in failed:
            self._tell("not", f"  {device}: {record.devices[device].why}", device=device)
        if left:
            self._tell("left", f"not there yet: {listed(left)}; the same command goes on with them", devices=left)
        every = Choice.parse(record.choice).every  # whoever says `all` means those that are there
        return FAILED if failed or (left and not every) else DONE

    def _stopped(self) -> str:
        """Return where it stands, and how to go on."""
        record = self._file.record
        told = [f"{len(found)} {phase}" for phase in ("held", "switched", "switching") if (found := record.of(phase))]
        return (
            f"stopped ({', '.join(told) or 'nothing was switched'}); `edgectl rollout resume {record.id}` goes on, "
            f"`edgectl rollout abort {record.id}` takes it back"
        )

    def _seen(self) -> Fleet:
        return look(self._client, Choice.parse(self._file.record.choice))

    def _online(self) -> set[str]:
        return set(self._seen().ids(online=True))

    def _each(self, devices: Sequence[str], act: Callable[[str], str | None]) -> Iterator[tuple[str, str | None]]:
        for begin in range(0, len(devices), SENT_AT_A_TIME):
            yield from for_each(devices[begin : begin + SENT_AT_A_TIME], act)

    def _tell(self, event: str, line: str, **more: Any) -> None:
        if self._json:
            print_json({"rollout": self._file.record.id, "event": event, **more})
        else:
            print_line(line)
