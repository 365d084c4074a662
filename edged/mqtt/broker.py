"""Where the broker or its cluster is and how to log in, read and checked from `[mqtt]` before anything connects."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
from dataclasses import dataclass
from urllib.parse import urlsplit

from edged.errors import ConfigError
from edged.settings import MqttSettings

log = logging.getLogger(__name__)

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""Scheme of an address → the TCP port that is meant where it names none."""
PATH = "/mqtt"
"""Where brokers listen for WebSockets, unless they are told otherwise."""


@dataclass(frozen=True)
class Broker:
    """The address of a broker and what is needed to be let in.

    Attributes:
        url: As it was given.
        host: Name or address, without brackets.
        port: TCP port.
        path: Of the WebSocket that MQTT goes through; None: it does not.
        tls: The context that verifies the broker and presents our certificate; None for plain TCP.
        settings: Where this came from.
    """

    url: str
    host: str
    port: int
    path: str | None
    tls: ssl.SSLContext | None
    settings: MqttSettings

    @property
    def name(self) -> str:
        """`host:port`, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def address(self) -> str:
        """Return what to connect to: the host, and 127.0.0.1 for a `localhost` that this machine cannot resolve.

        That name means the machine itself whether or not a file says so (RFC 6761, 6.3); in TLS it is a name to verify.
        """
        if self.host == "localhost" and self.tls is None:
            try:
                socket.getaddrinfo(self.host, self.port)
            except OSError:
                return "127.0.0.1"
        return self.host

    def password(self) -> str | None:
        """Read the password anew, so that a corrected file needs no restart.

        Raises:
            ConfigError: The file cannot be read.
        """
        path = self.settings.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"mqtt.password_file = {str(path)!r}: {reason}") from error


def brokers(settings: MqttSettings) -> list[Broker]:
    """Check `[mqtt]` and build the TLS context; return a broker for each address, in their order.

    Raises:
        ConfigError: A port out of range, a file that cannot be read or is no certificate, or keys that do not go
            together; one line that names the key.
    """
    if settings.password_file is not None and settings.username is None:
        raise ConfigError("mqtt.password_file: needs mqtt.username too")
    encrypted = [url for url in settings.url if urlsplit(url).scheme in ("mqtts", "wss")]
    tls = _tls(settings) if encrypted else None
    found = [_broker(url, tls if url in encrypted else None, settings) for url in settings.url]
    if not encrypted:
        for key in ("ca_file", "cert_file", "key_file"):
            if getattr(settings, key) is not None:
                urls = ", ".join(settings.url)
                raise ConfigError(f"mqtt.{key}: only used with mqtts:// and wss://, but mqtt.url = {urls!r}")
    found[0].password()
    _warn_if_public(settings)
    return found


def _broker(url: str, tls: ssl.SSLContext | None, settings: MqttSettings) -> Broker:
    address = urlsplit(url)
    try:
        port = address.port or PORTS[address.scheme]
    except ValueError as error:
        raise ConfigError(f"mqtt.url = {url!r}: the port must be 1 to 65535") from error
    path = None
    if address.scheme in ("ws", "wss"):
        path = address.path if address.path not in ("", "/") else PATH
    return Broker(url, address.hostname or "localhost", port, path, tls, settings)


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    if settings.ca_file is None:
        context = ssl.create_default_context()
    else:
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"mqtt.ca_file = {str(settings.ca_file)!r}: {_reason(error)}") from error
    context.sslsocket_class = _TlsSocket
    if settings.cert_file is None:
        if settings.key_file is not None:
            raise ConfigError("mqtt.key_file: needs mqtt.cert_file too")
        return context

    def no_prompt() -> str:
        raise ConfigError(
            f"mqtt.key_file = {str(settings.key_file or settings.cert_file)!r}: encrypted; use one without a passphrase"
        )

    for key, path in (("cert_file", settings.cert_file), ("key_file", settings.key_file)):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"mqtt.{key} = {str(path)!r}: {error.strerror}") from error
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=no_prompt)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"mqtt.cert_file = {str(settings.cert_file)!r}: with its key: {_reason(error)}") from error
    return context


class _TlsSocket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails: paho leaves such a one open until it is garbage."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):  # an OSError too, but its strerror is OpenSSL's source line
        return f"not a usable PEM file ({error.reason or 'no certificate in it'})"
    return error.strerror or str(error)


def _warn_if_public(settings: MqttSettings) -> None:
    for key in ("password_file", "key_file"):
        path = getattr(settings, key)
        if path is not None and path.stat().st_mode & stat.S_IROTH:
            log.warning("mqtt.%s = %r can be read by every user of this machine; chmod 600 it", key, str(path))
