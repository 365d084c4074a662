"""`edgectl console`: the fleet, its devices and their teaching, as a web page."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import secrets

from edged.ctl.options import chosen, open_client
from edged.errors import ConfigError
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

HOST, PORT = "127.0.0.1", 8251


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("console", run)
    parser.add_argument(
        "--listen",
        metavar="[HOST:]PORT",
        default=f"{HOST}:{PORT}",
        help=f"where to serve the page ({HOST}:{PORT}); port 0: any that is free",
    )
    parser.add_argument(
        "--public-url",
        metavar="URL",
        help="where a reverse proxy serves the page, such as https://edged.example:8443; a token is asked for then",
    )
    parser.add_argument("--open", action="store_true", help="open it in this machine's browser")


def run(args: argparse.Namespace) -> int:
    """Serve a web page on this workstation: the fleet, each device, labeling, retraining.

    It speaks to devices through the broker; no port is opened on a device. On another address than this machine's own
    (--listen) whoever opens the page must have the token that is printed; put TLS in front of it on a network that is
    not yours alone, and tell its address by --public-url. Ctrl-C ends. Needs Starlette and uvicorn: pip install
    'edged[console]'.

    Examples:
      edgectl console
      edgectl --broker mqtt://10.0.0.5 console --open
      edgectl console --listen 0.0.0.0:8251
      edgectl console --public-url https://edged.example:8443
    """
    from edged.ctl.choice import EVERY
    from edged.ctl.console import web
    from edged.ctl.console.guard import PublicAddress
    from edged.ctl.console.station import Station

    web.require()
    host, port = address(args.listen)
    public = PublicAddress.of(args.public_url) if args.public_url is not None else None
    choice = chosen(args) or EVERY
    token = None if _is_own(host) and public is None else secrets.token_urlsafe(24)
    with web.listen(host, port) as opened, open_client(args) as client, Station(client, choice) as station:
        named = f"[{host}]" if ":" in host else host
        url = f"http://{named}:{opened.getsockname()[1]}/" if public is None else f"{public.origin}/"
        _tell(url, token, as_json=args.json)
        if args.open:
            import webbrowser

            webbrowser.open(url if token is None else f"{url}?token={token}")
        with contextlib.suppress(KeyboardInterrupt):
            web.serve(station, opened, host=host, token=token, public=public)
    return DONE


def _tell(url: str, token: str | None, *, as_json: bool) -> None:
    """Say where the page is; a wildcard address is named as one that a person can type."""
    import socket

    from edged.terminal.text import print_json, print_line

    for wildcard in ("//0.0.0.0:", "//[::]:"):
        url = url.replace(wildcard, f"//{socket.gethostname()}:")
    whole = url if token is None else f"{url}?token={token}"
    if as_json:
        print_json({"url": whole})
    else:
        print_line(whole)


def address(text: str) -> tuple[str, int]:
    """Read `[HOST:]PORT`.

    Raises:
        ConfigError: It is none.
    """
    host, colon, port = text.rpartition(":")
    host = host.strip("[]") if colon else HOST
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {text!r}: give [HOST:]PORT, such as {HOST}:{PORT} or 0.0.0.0:{PORT}")
    return host, int(port)


def _is_own(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
