"""The thread that carries commands out, one after another, without stopping frames."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edged.codec import encode_jpeg
from edged.contract.messages import Job
from edged.errors import CommandError, EdgedError

if TYPE_CHECKING:
    from edged.camera import Cameras
    from edged.contract.messages import SetArgs, SnapshotArgs
    from edged.daemon.publisher import Publisher
    from edged.mqtt.link import Link
    from edged.types import Command

log = logging.getLogger(__name__)

Handler = Callable[["Command"], "dict[str, Any] | None"]
"""Returns the job's report; None when it goes on and publishes its own job states."""


class CommandWorker:
    """Runs handlers in the order in which commands were accepted.

    Args:
        link: Where job states go.
        handlers: By command name.
    """

    def __init__(self, link: Link, handlers: Mapping[str, Handler]) -> None:
        self._link = link
        self._handlers = handlers
        self._queue: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="commands")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, command: Command) -> None:
        """Queue an accepted command; returns at once."""
        self._queue.put(command)

    def stop(self) -> None:
        """Finish the command at hand, then end the thread."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (command := self._queue.get()) is not None:
            try:
                self._carry_out(command)
            except Exception:
                log.exception("command %s (%s) has failed", command.name, command.id)
                self._end(command, "failed", error="internal error; the daemon's log tells more")

    def _carry_out(self, command: Command) -> None:
        log.info("command %s (%s)", command.name, command.id)
        try:
            report = self._handlers[command.name](command)
        except EdgedError as error:
            self._end(command, "failed", error=str(error))
            return
        if report is not None:
            self._link.job(Job(id=command.id, cmd=command.name, status="succeeded", progress=1, report=report))

    def _end(self, command: Command, status: Any, *, error: str) -> None:
        log.info("command %s (%s): %s: %s", command.name, command.id, status, error)
        self._link.job(Job(id=command.id, cmd=command.name, status=status, error=error))


class FrameCommands:
    """`snapshot` and `set`.

    Args:
        cameras: The frame sources.
        publisher: Holds the newest results.
        link: Where images go.
    """

    def __init__(self, cameras: Cameras, publisher: Publisher, link: Link) -> None:
        self._cameras = cameras
        self._publisher = publisher
        self._link = link

    def snapshot(self, command: Command) -> dict[str, Any]:
        """Publish the newest classified frame as JPEG on `image/<id>`; the report is its result and size."""
        args: SnapshotArgs = command.args
        latest = dict(self._publisher.latest)
        if args.camera is not None:
            self._known(args.camera)
            latest = {name: entry for name, entry in latest.items() if name == args.camera}
        if not latest:
            raise CommandError(f"camera {args.camera or 'any'}: no frame has been classified yet")
        frame, result = max(latest.values(), key=lambda entry: entry[0].captured_ns)
        jpeg = encode_jpeg(frame.image, args.quality)
        self._link.publish(f"image/{command.id}", jpeg)
        height, width = frame.image.shape[:2]
        return {**result.model_dump(exclude_none=True), "width": width, "height": height, "bytes": len(jpeg)}

    def set(self, command: Command) -> dict[str, Any]:
        """Change frames per second of one camera or all, and the number of labels in results."""
        args: SetArgs = command.args
        if args.camera is not None:
            self._known(args.camera)
        if args.fps is None and args.top is None:
            raise CommandError("set: nothing to set; allowed: fps (with camera), top")
        if args.fps is not None:
            for name in [args.camera] if args.camera else self._cameras.captures:
                self._cameras.captures[name].set_fps(args.fps)
        if args.top is not None:
            self._publisher.top = args.top
        return args.model_dump(exclude_none=True)

    def _known(self, camera: str) -> None:
        if camera not in self._cameras.captures:
            raise CommandError(f"camera {camera}: unknown; this device has {', '.join(self._cameras.captures)}")
