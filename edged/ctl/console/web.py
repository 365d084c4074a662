"""The console's server: the one file that imports Starlette and uvicorn."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import math
import mimetypes
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edged.contract.commands import COMMANDS, MAX_IMAGE_BYTES
from edged.contract.hyperparameters import Hyperparameters
from edged.contract.labels import check_label
from edged.contract.topics import check_topic_level
from edged.ctl.console.guard import Guard, PublicAddress
from edged.ctl.console.pictures import Picture, Pictures
from edged.ctl.console.station import Station
from edged.ctl.errors import NoAnswerError
from edged.errors import CommandError, ConfigError, EdgedError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError as error:
    _MISSING: str | None = error.name
else:
    _MISSING = None

T = TypeVar("T")

mimetypes.add_type("text/javascript", ".js")  # a browser runs no module that the system's own list calls otherwise
ASSETS = Path(__file__).with_name("assets")
TICK_S = 0.5
"""How often a page is told what has changed."""
_FRAME_S = 0.35
"""Least time between two frames of a camera that somebody looks at."""
_THUMBNAIL_S = 20.0
"""How old a row's picture may be: what it costs a device to make one, it costs for each page that looks."""
_NEW_LABEL_S = 5.0
"""And where the device has seen something else since."""
_AT_ONCE = 24
"""Commands that are waited for at the same time."""
_MAX_BODY_BYTES = 64 * 1024
ALLOWED = frozenset(
    {
        "set", "status", "cancel", "jobs", "rollback", "retrain", "models_list", "models_use",
        "images_list", "images_suggest", "images_groups", "images_doubtful",
        "images_label", "images_unlabel", "images_remove",
    }
)  # fmt: skip
"""Commands that a page may send."""


def require() -> None:
    """Make sure that what is needed is there.

    Raises:
        ConfigError: It is not installed.
    """
    if _MISSING is not None:
        raise ConfigError(f"console: {_MISSING} is not installed: pip install 'edged[console]'")


class Console:
    """The routes.

    Args:
        station: Listens to the fleet.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self._pictures = Pictures(self._snapshot)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="console")

    def application(self) -> Starlette:
        """Return the application, without its guard."""
        device = "/api/devices/{device}"
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/device/{device}", self.page),
                Route("/device/{device}/{part}", self.page),
                Route("/api/fleet", self.fleet),
                Route("/api/hyperparameters", self.hyperparameters),
                Route(f"{device}/events", self.device),
                Route(f"{device}/picture", self.picture),
                Route(f"{device}/frames/{{number:int}}", self.frame),
                Route(f"{device}/images/{{image}}", self.image),
                Route(f"{device}/photos", self.upload, methods=["POST"]),
                Route(f"{device}/commands/{{command}}", self.command, methods=["POST"]),
                Mount("/assets", StaticFiles(directory=ASSETS)),
            ],
            exception_handlers={EdgedError: _refusal},
        )

    async def page(self, request: Request) -> Response:
        """Any page: which one it is, the script reads from the address."""
        del request
        return FileResponse(ASSETS / "index.html", media_type="text/html; charset=utf-8")

    async def hyperparameters(self, request: Request) -> Response:
        """What a training can be told, as `contract.hyperparameters` declares it."""
        del request
        return JSONResponse(Hyperparameters.model_json_schema()["properties"])

    async def fleet(self, request: Request) -> Response:
        """Rows of the fleet, all at first and then what changes."""

        async def events() -> AsyncIterator[str]:
            version = 0
            while not await request.is_disconnected():
                changed = await self._run(functools.partial(self._station.changes, version))
                version = changed["version"]
                yield _event("fleet", changed)
                await asyncio.sleep(TICK_S)

        return _stream(events())

    async def device(self, request: Request) -> Response:
        """One device: what it says, its history, its commands; with `?live` the frames of a camera."""
        device = self._named(request)
        camera = request.query_params.get("camera") or None
        told = self._told(request, device)
        if "live" not in request.query_params:
            return _stream(told)
        return _stream(_merged(told, self._frames(request, device, camera)))

    async def _told(self, request: Request, device: str) -> AsyncIterator[str]:
        described: dict[str, Any] | None = None
        reported = None
        log = 0
        since = 0.0
        while not await request.is_disconnected():
            now = await self._run(functools.partial(self._station.describe, device))
            if now is None:
                yield _event("gone", {})
                return
            if now != described:
                described = now
                yield _event("device", now)
            ended = await self._run(functools.partial(self._station.report, device))
            if ended is not None and ended[0] != reported:
                reported = ended[0]
                yield _event("ended", ended[1])
            points = await self._run(functools.partial(self._station.history, device, since))
            if points["t"] and (since == 0.0 or now.get("telemetry")):
                fresh = {"all": since == 0.0, **points}
                since = points["t"][-1]
                yield _event("history", fresh)
            if (entries := await self._run(functools.partial(self._station.log, device, log))) is not None:
                log = entries["version"]
                yield _event("log", entries)
            yield ": still here\n\n"  # a browser that has gone is noticed when something is written
            await asyncio.sleep(TICK_S)

    async def _frames(self, request: Request, device: str, camera: str | None) -> AsyncIterator[str]:
        """Yield frames as fast as they come, some a second; the device is asked for none when nobody reads this."""
        last = 0
        while not await request.is_disconnected():
            begun = asyncio.get_running_loop().time()
            try:
                picture = await self._picture(device, camera, _FRAME_S)
            except EdgedError as error:
                yield _event("noframe", {"error": str(error)})
                await asyncio.sleep(3.0)
                continue
            if picture.number != last:
                last = picture.number
                yield _event("frame", {"number": picture.number, "camera": camera or "", "result": picture.result})
            await asyncio.sleep(max(0.05, _FRAME_S - (asyncio.get_running_loop().time() - begun)))

    async def picture(self, request: Request) -> Response:
        """A recent frame of a device, of the label that was asked for if it can be; none where it gives none."""
        device = self._named(request)
        camera, label = (request.query_params.get(name) or None for name in ("camera", "label"))
        try:
            picture = await self._picture(device, camera, _THUMBNAIL_S)
            if label not in (None, picture.result.get("label")):
                picture = await self._picture(device, camera, _NEW_LABEL_S)
        except EdgedError:  # it has no camera, or is away: the fleet's page shows none, and that is no fault
            return Response(status_code=204)
        return Response(picture.jpeg, media_type="image/jpeg", headers={"cache-control": "private, max-age=5"})

    async def frame(self, request: Request) -> Response:
        """A frame that `events` has named."""
        device = self._named(request)
        camera = request.query_params.get("camera") or None
        picture = self._pictures.numbered(device, camera, request.path_params["number"])
        if picture is None:
            return JSONResponse({"error": "that frame is no longer kept"}, 404)
        return Response(picture.jpeg, media_type="image/jpeg")

    async def image(self, request: Request) -> Response:
        """One of a device's photos. Its id is its hash: it never changes."""
        device = self._named(request)
        ask = functools.partial(
            self._station.command, device, "images_get", {"id": request.path_params["image"]}, image=True
        )
        job, content = await self._run(ask)
        if job is None or job.status != "succeeded":
            raise CommandError(job.error or "the device did not send it" if job is not None else "no answer")
        kind = _media_type(content)
        if kind is None:
            raise CommandError("the device sent something that is no photo")
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=86400, immutable"})

    async def upload(self, request: Request) -> Response:
        """Take a photo and send it to a device with a label."""
        device = self._named(request)
        label = check_label(request.query_params.get("label", ""))
        content = await _body(request, MAX_IMAGE_BYTES)
        if _media_type(content) is None:
            raise CommandError("not a JPEG, PNG, BMP or WebP image")
        sha256 = hashlib.sha256(content).hexdigest()
        args = {"label": label, "sha256": sha256, "jpeg": base64.b64encode(content).decode()}
        await self._run(functools.partial(self._station.command, device, "image", args, wait=False))
        return JSONResponse({"id": sha256[:16], "label": label})

    async def command(self, request: Request) -> Response:
        """Send a command; the answer is its job as it ended or, of one that takes a while, that it has begun."""
        device = self._named(request)
        name = request.path_params["command"]
        if name not in ALLOWED:
            raise CommandError(f"{name}: pages do not send this command")
        try:
            args = json.loads(await _body(request, _MAX_BODY_BYTES) or b"{}")
        except (ValueError, RecursionError) as error:
            raise CommandError("the body is no JSON") from error
        if not isinstance(args, dict):
            raise CommandError("the body is no JSON object")
        lasting = COMMANDS[name].lasting
        job, _ = await self._run(functools.partial(self._station.command, device, name, args, wait=not lasting))
        if job is None:
            return JSONResponse({"status": "accepted"})
        return JSONResponse(job.model_dump(mode="json", exclude_none=True, exclude={"v"}))

    def _named(self, request: Request) -> str:
        """Return the device of the address.

        Raises:
            NoAnswerError: There is none of this name.
        """
        device = str(request.path_params["device"])
        try:
            check_topic_level(device)
        except ValueError as error:
            raise NoAnswerError(f"{device[:64]!r} is no device") from error
        if not self._station.knows(device):
            raise NoAnswerError(f"{device}: no such device")
        return device

    async def _picture(self, device: str, camera: str | None, max_age_s: float) -> Picture:
        return await self._run(functools.partial(self._pictures.newest, device, camera, max_age_s))

    def _snapshot(self, device: str, camera: str | None) -> tuple[bytes, dict[str, Any]]:
        job, jpeg = self._station.command(device, "snapshot", {"camera": camera, "quality": 75}, image=True)
        if job is None or job.status != "succeeded" or _media_type(jpeg) is None:
            raise CommandError((job.error if job is not None else None) or "the device sent no picture")
        return jpeg, job.report or {}

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Wait for no command any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _body(request: Request, most: int) -> bytes:
    """Read a request's body.

    Raises:
        CommandError: It is larger than `most` bytes.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise CommandError(f"more than {most} bytes")
    return bytes(content)


async def _refusal(request: Request, error: Exception) -> Response:
    """Turn what went wrong into an answer."""
    del request
    status = 404 if isinstance(error, NoAnswerError) else 400 if isinstance(error, ConfigError) else 409
    return JSONResponse({"error": str(error)}, status)


def _media_type(content: bytes) -> str | None:
    """Return what a file is, by its first bytes; None: no photo. Nothing else is ever handed to a browser."""
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"BM"):
        return "image/bmp"
    return "image/webp" if content.startswith(b"RIFF") and content[8:12] == b"WEBP" else None


def _event(name: str, data: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a device said NaN, which is no JSON
        text = json.dumps(_finite(data), separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n"


def _finite(value: Any) -> Any:
    """Return JSON values with null in place of numbers that are none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    # The second is for nginx, which would keep events back until it has many.
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _merged(*sources: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield what several sources yield, as it comes; all end with the first."""
    waiting = {asyncio.ensure_future(anext(source)): source for source in sources}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = waiting.pop(task)
                try:
                    yield task.result()
                except StopAsyncIteration:
                    return
                waiting[asyncio.ensure_future(anext(source))] = source
    finally:
        for task in waiting:
            task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        ConfigError: The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(found[4][:2], family=found[0], backlog=64)
    except OSError as error:
        raise ConfigError(f"--listen {host}:{port}: {(error.strerror or str(error)).lower()}") from error


def serve(
    station: Station, opened: socket.socket, *, host: str, token: str | None, public: PublicAddress | None = None
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        station: Listens to the fleet.
        opened: A socket that listens.
        host: The address as the user wrote it.
        token: See `Guard`.
        public: Likewise.

    Raises:
        KeyboardInterrupt: It was SIGINT.
    """
    console = Console(station)
    port = opened.getsockname()[1]
    guard: Any = Guard(console.application(), host=host, port=port, token=token, public=public)
    config = uvicorn.Config(
        guard, log_level="critical", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1,
        server_header=False, date_header=False,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[opened])
    except asyncio.CancelledError:  # so does asyncio tell of a SIGINT in the moment in which it begins
        raise KeyboardInterrupt from None
    finally:
        console.close()
