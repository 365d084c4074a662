"""`profile`: one profile at a time, in a child at low priority, watched by a thread of its own."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edged.contract.messages import Job
from edged.errors import CommandError, EdgedError, ModelError
from edged.jobs.requests import ProfileRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.contract.commands import Command, ProfileArgs
    from edged.mqtt.link import Link
    from edged.settings import Settings
    from edged.store import Bundle, Store

log = logging.getLogger(__name__)

TIMEOUT_S = 7200.0
_PUBLISH_S = 0.5
"""The job's state is published this often, also when nothing has changed: its follower knows that we live."""
_KILL_AFTER_S = 2.0


@dataclass
class _Running:
    """The profile at hand."""

    id: str
    request: ProfileRequest
    cancelled: threading.Event = field(default_factory=threading.Event)
    why: str = "cancelled on request"
    stage: str = "starting"
    progress: float = 0.0


class Profiling:
    """Runs profiles.

    Args:
        settings: The whole configuration.
        store: Where models are.
        running: Returns the bundle that answers frames.
        link: Where job states go.
    """

    def __init__(self, settings: Settings, store: Store, running: Callable[[], Bundle], link: Link) -> None:
        self._settings = settings
        self._store = store
        self._current = running
        self._link = link
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._thread: threading.Thread | None = None

    def profile(self, command: Command[ProfileArgs]) -> None:
        """Begin a profile; its job goes on by itself."""
        try:
            request = self._request(command.args)
            with self._lock:
                if self._running is not None:
                    raise CommandError(f"a profile is running: {self._running.id}")
                self._running = running = _Running(command.id, request)
        except (CommandError, ModelError) as error:
            self._link.job(Job(id=command.id, cmd="profile", status="rejected", error=str(error)))
            return
        self._thread = threading.Thread(target=self._run, args=(running,), name="profiling")
        self._thread.start()

    @property
    def running(self) -> str | None:
        """Id of the profile that runs."""
        with self._lock:
            return None if self._running is None else self._running.id

    def cancel(self, id_: str) -> None:
        """End the profile that runs; its own job says so.

        Raises:
            CommandError: It has ended.
        """
        with self._lock:
            if self._running is None or self._running.id != id_:
                raise CommandError(f"profile {id_} has just ended")
            self._running.cancelled.set()

    def stop(self) -> None:
        """Cancel the profile that runs and wait for its end."""
        with self._lock:
            if self._running is not None:
                self._running.why = "the daemon stopped"
                self._running.cancelled.set()
        if self._thread is not None:
            self._thread.join()

    def _request(self, args: ProfileArgs) -> ProfileRequest:
        bundle = self._current() if args.model is None else self._store.find(args.model)
        bundle.read_model()  # tells of damage
        chosen = args.model_dump(exclude_none=True, exclude={"model", "only"})
        if args.only:
            chosen["parts"] = args.only
        return ProfileRequest(
            name=bundle.name,
            id=bundle.id,
            model=bundle.path / "model.tflite",
            crop=bundle.manifest.input.crop,
            mqtt=self._settings.mqtt,
            device=self._settings.device.id,
            **({"runtime": self._settings.model.runtime} | chosen),
        )

    # -- on the profile's own thread, which must live as long as the child ---------------------------------------------

    def _run(self, running: _Running) -> None:
        try:
            answer = self._watch(running)
        except (EdgedError, OSError) as error:
            answer = {"error": str(error)}
        except Exception:  # the top of a thread
            log.exception("profile %s has failed", running.id)
            answer = {"error": "internal error; the daemon's log tells more"}
        with self._lock:
            self._running = None
        done = "report" in answer
        log.info("profile %s: %s", running.id, "succeeded" if done else answer["error"])
        self._link.job(
            Job(
                id=running.id,
                cmd="profile",
                status="succeeded" if done else "cancelled" if running.cancelled.is_set() else "failed",
                progress=1.0 if done else running.progress,
                report=answer.get("report"),
                error=answer.get("error"),
            )
        )

    def _watch(self, running: _Running) -> dict[str, Any]:
        """Run the child to its end; return its last word."""
        message = {"parent": os.getpid(), "request": running.request.model_dump(mode="json")}
        child = subprocess.Popen(
            [sys.executable, "-m", "edged.lab.profiling.job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # its own children end with it
        )
        log.info("profile %s of %s runs in process %d", running.id, running.request.name, child.pid)
        try:
            _hand_over(child, message)
            return self._listen(running, child)
        finally:
            _end(child)

    def _listen(self, running: _Running, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        output = child.stdout
        if output is None:
            raise EdgedError("the profile's process has no output")
        deadline, published, rest = time.monotonic() + TIMEOUT_S, 0.0, b""
        while True:
            ready, _, _ = select.select([output], [], [], 0.1)
            if running.cancelled.is_set():
                return {"error": running.why}
            if ready:
                if not (chunk := os.read(output.fileno(), 65536)):
                    return {"error": f"the profile's process ended without a result (exit code {child.wait()})"}
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    told: dict[str, Any] = json.loads(line)
                    if "stage" not in told:
                        return told
                    running.stage, running.progress = told["stage"], told["progress"]
            now = time.monotonic()
            if now > deadline:
                return {"error": f"not done after {TIMEOUT_S:g} s"}
            if now - published >= _PUBLISH_S:
                published = now
                self._link.job(
                    Job(
                        id=running.id,
                        cmd="profile",
                        status="running",
                        stage=running.stage,
                        progress=min(running.progress, 1.0),
                    )
                )


def _hand_over(child: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    if child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(json.dumps(message).encode())


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole group, ask first, and wait for it."""
    for number, patience_s in ((signal.SIGTERM, _KILL_AFTER_S), (signal.SIGKILL, None)):
        if child.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
    if child.stdout is not None:
        child.stdout.close()
