"""The commands about cameras and their frames: `snapshot` and `set`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edged.codec import encode_jpeg
from edged.contract.messages import RegionLabel, timestamp
from edged.errors import CommandError

if TYPE_CHECKING:
    from edged.camera import Cameras
    from edged.contract.commands import Command, SetArgs, SnapshotArgs
    from edged.daemon.publisher import Publisher
    from edged.mqtt.link import Link


_OF_REGION = set(RegionLabel.model_fields)


class FrameCommands:
    """`snapshot` and `set`.

    Args:
        cameras: The frame sources.
        publisher: Holds the newest results.
        link: Where images go.
        set_lr: Changes the learning rate of every training that is asked for without one.
    """

    def __init__(self, cameras: Cameras, publisher: Publisher, link: Link, *, set_lr: Callable[[float], None]) -> None:
        self._cameras = cameras
        self._publisher = publisher
        self._link = link
        self._set_lr = set_lr

    def snapshot(self, command: Command[SnapshotArgs]) -> dict[str, Any]:
        """Publish the newest classified frame as JPEG on `image/<id>`; the report is its result and size.

        With `regions`: the result of the newest of them, if there is any, and what all of them show.
        """
        args = command.args
        latest = dict(self._publisher.latest)
        if args.camera is not None:
            self._known(args.camera)
            latest = {name: scene for name, scene in latest.items() if name == args.camera}
        if not latest:
            raise CommandError(f"camera {args.camera or 'any'}: no frame has been classified yet")
        scene = max(latest.values(), key=lambda scene: scene.frame.captured_ns)
        frame = scene.frame
        jpeg = encode_jpeg(frame.image, args.quality)
        self._link.image(command.id, jpeg)
        height, width = frame.image.shape[:2]
        size = {"width": width, "height": height, "bytes": len(jpeg)}
        if frame.regions is None:
            return {**scene.results[0].model_dump(exclude_none=True), **size}
        regions = [result.model_dump(include=_OF_REGION, exclude_none=True) for result in scene.results]
        newest = scene.results[0].model_dump(exclude_none=True) if scene.results else {}
        return {"camera": frame.camera, **newest, "ts": timestamp(frame.captured_at), "regions": regions, **size}

    def set(self, command: Command[SetArgs]) -> dict[str, Any]:
        """Change frames per second of one camera or all, the number of labels in results, and the learning rate."""
        args = command.args
        if args.camera is not None:
            self._known(args.camera)
        if args.fps is None and args.top is None and args.lr is None:
            raise CommandError("set: nothing to set; allowed: fps (with camera), top, lr")
        if args.fps is not None:
            for name in [args.camera] if args.camera else self._cameras.captures:
                self._cameras.captures[name].set_fps(args.fps)
        if args.top is not None:
            self._publisher.top = args.top
        if args.lr is not None:
            self._set_lr(args.lr)
        return args.model_dump(exclude_none=True)

    def _known(self, camera: str) -> None:
        if camera not in self._cameras.captures:
            raise CommandError(f"camera {camera}: unknown; this device has {', '.join(self._cameras.captures)}")
