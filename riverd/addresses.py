"""Addresses as they are written in the config: where to listen, where to deliver."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

LISTEN_VARIABLE = "RIVERD_LISTEN"  # stands above [web] listen: in a container the config need not know of it


class Listen(NamedTuple):
    """Where the web process listens."""

    host: str  # an IP address
    port: int  # 0: any free one

    @property
    def is_loopback(self) -> bool:
        """Only this machine gets there."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Where to reach it from this machine."""
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"http://{host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """Where to listen.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.

    >>> parse_listen("127.0.0.1:8765"), parse_listen("[::1]:80").url, parse_listen("0.0.0.0:80").url
    (Listen(host='127.0.0.1', port=8765), 'http://[::1]:80', 'http://127.0.0.1:80')
    """
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError('has no port.\n  Write address and port, such as "127.0.0.1:8765"; "" listens nowhere.')
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(
            'has no IP address.\n  Write "127.0.0.1:8765" for this machine alone, "0.0.0.0:8765" for all networks.'
        ) from None
    return Listen(host, int(port))


def check_server(text: str) -> str:
    """A host and a port to connect to, as they are.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.
    """
    host, _, port = text.rpartition(":")
    if not host or "/" in text or "," in text or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError('is not a host and a port.\n  Write "host:9092", each in quotes of its own.')
    return text


def check_url(text: str) -> str:
    """A URL to deliver to, as it is.

    Raises
    ------
    ValueError
        With what is wrong and what to write instead.
    """
    if not _is_url(text):
        raise ValueError('is not a URL.\n  Write "https://host/path" or "http://host:port/path".')
    if "@" in urlsplit(text).netloc:
        raise ValueError(
            "holds a password.\n  Secrets come by the environment alone: take it out, set RIVERD_WEBHOOK_TOKEN."
        )
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
    return whole and text.isascii() and text.isprintable() and " " not in text
