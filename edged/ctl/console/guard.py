"""Who may ask the console's server, before anything else looks at a request. ASGI, by the standard library alone.

Any page that a person has open in the same browser can send requests to 127.0.0.1. So the name that the browser asked
for must be ours (DNS rebinding: a stranger's name that resolves to this machine), what changes something must come from
a page of ours (cross-site requests), and whoever listens on other addresses than the machine's own must show a token.
Behind a reverse proxy the page has another name, which the user gives.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edged.errors import ConfigError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "edged_console"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What a page may load and run. Trusted types: no script turns text into HTML, whatever a device calls a label."""
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_READS = ("GET", "HEAD")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class PublicAddress:
    """Where a reverse proxy serves the page; host in small letters, port None where it is the scheme's own."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> PublicAddress:
        """Read an address such as https://edged.example:8443.

        Raises:
            ConfigError: It is none, or has a path: the pages ask for what they need at the top.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        more = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username is not None
        if parts.scheme not in _PORTS or not parts.hostname or more or port == 0:
            raise ConfigError(
                f"--public-url {text!r}: give http:// or https:// and a host, without a path, such as https://edged.example:8443"
            )
        return cls(parts.scheme, parts.hostname, None if port == _PORTS[parts.scheme] else port)

    @property
    def origin(self) -> str:
        """As a browser writes it in Origin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")

    def is_named(self, name: str, port: int | None) -> bool:
        """Whether a Host header means it; many proxies hand the name on without the port."""
        return name == self.host and port in (None, self.port or _PORTS[self.scheme])


class Guard:
    """Stands before an ASGI application.

    Args:
        app: The application.
        host: Where the server listens, as the user wrote it.
        port: Likewise.
        token: What every request must show; None: whoever reaches this machine's own address may ask.
        public: The address of a proxy that stands before this server; None: there is none.
    """

    def __init__(
        self, app: App, *, host: str, port: int, token: str | None, public: PublicAddress | None = None
    ) -> None:
        self._app = app
        self._port = port
        self._token = token
        self._public = public
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        if token is not None:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it to the application."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        guarded = _with_headers(send)
        if not self._is_ours(headers.get("host", "")):
            await _answer(guarded, 421, "this server does not go by that name: use the address that edgectl printed")
            return
        if (why := self._cross_site(scope, headers)) is not None:
            await _answer(guarded, 403, why)
            return
        if self._token is not None and not self._shown(headers):
            await self._ask_for_token(scope, guarded)
            return
        await self._app(scope, receive, guarded)

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host header names this server. With a token, any bare address does: no name leads to it."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path:
            return False
        if self._public is not None and self._public.is_named(name, port):
            return True
        if port not in (self._port, None):
            return False
        if port is None and self._port != 80:
            return False
        return name in self._names or (self._token is not None and _is_address(name))

    def _cross_site(self, scope: Message, headers: dict[str, str]) -> str | None:
        """Return why a request that another page makes is refused; None: it is not one."""
        origin = headers.get("origin")
        same = origin is None or self._is_same(origin.lower(), headers.get("host", "").lower())
        site = headers.get("sec-fetch-site", "same-origin")
        page = scope["method"] in _READS and not str(scope["path"]).startswith("/api/")
        if page and headers.get("sec-fetch-mode", "navigate") == "navigate":
            return None  # somebody follows a link to a page, which does nothing by itself
        if not same or site not in ("same-origin", "none"):
            return "another site's page asked for this"
        if scope["method"] not in _READS and origin is None:
            return "a request that changes something needs an Origin header"
        return None

    def _is_same(self, origin: str, host: str) -> bool:
        """Whether a page's origin is that of the server which the request names."""
        if self._public is not None:
            if origin == self._public.origin:
                return True
            parts = urlsplit(f"//{host}")
            if self._public.is_named(parts.hostname or "", parts.port):
                return False  # another scheme or port of the proxy's host: another origin, which shares its cookies
        return urlsplit(origin).netloc == host

    def _shown(self, headers: dict[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), (self._token or "").encode())

    async def _ask_for_token(self, scope: Message, send: Send) -> None:
        """Take the token of the address that edgectl printed, once; from then on it is in a cookie."""
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        if scope["method"] == "GET" and self._is_token(query.get("token", "")):
            cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
            if self._public is not None and self._public.scheme == "https":
                cookie += "; Secure"
            more = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
            await _answer(send, 303, "", more)
            return
        await _answer(send, 401, "open the address with the token that edgectl printed when it started")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    """Return a `send` that adds what every response has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            has = {name.lower() for name, _ in headers}
            headers += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            if b"cache-control" not in has:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return sending


async def _answer(send: Send, status: int, text: str, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
