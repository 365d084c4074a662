"""Certificates for tests, made by openssl: an authority, and what it signs, in good order or expired."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from tests.mosquitto import HOST

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

# For `openssl ca`, which signs for past days in every version; `openssl x509 -days -1` is refused since 3.5.
_SIGNING = """\
[ca]
default_ca = authority
[authority]
database = signed
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = names
[names]
commonName = supplied
"""


class Certificate(NamedTuple):
    """A certificate and its key."""

    file: Path
    key: Path


class Authority:
    """One that signs.

    Args:
        folder: Gets all files; made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        (folder / "signing").write_text(_SIGNING)
        (folder / "signed").touch()
        self.file = folder / "ca.crt"
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
                      "-subj", "/CN=edged test authority", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip

    def sign(self, name: str, *, of: str = f"DNS:localhost,IP:{HOST}", expired: bool = False) -> Certificate:
        """Make a certificate.

        Args:
            name: Its common name, and that of its files.
            of: Its other names: `DNS:…` and `IP:…`.
            expired: It was good until yesterday.
        """
        stem = f"{name}{'-expired' if expired else ''}-{abs(hash(of)) % 10_000}"
        (self._folder / "names").write_text(f"subjectAltName={of}\n")
        self._openssl("req", *_KEY, "-keyout", f"{stem}.key", "-out", f"{stem}.csr", "-subj", f"/CN={name}")
        until = datetime.now(timezone.utc) + timedelta(days=-1 if expired else 2)
        days = ("-startdate", _openssl_time(until - timedelta(days=3)), "-enddate", _openssl_time(until))
        self._openssl("ca", "-batch", "-notext", "-config", "signing", "-cert", "ca.crt", "-keyfile", "ca.key",
                      "-in", f"{stem}.csr", "-out", f"{stem}.crt", "-extfile", "names", *days)  # fmt: skip
        (self._folder / f"{stem}.key").chmod(0o600)
        return Certificate(self._folder / f"{stem}.crt", self._folder / f"{stem}.key")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)


def _openssl_time(when: datetime) -> str:
    return when.strftime("%Y%m%d%H%M%SZ")
