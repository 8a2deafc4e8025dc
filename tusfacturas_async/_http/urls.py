"""Where requests may go: which base URLs are taken, and which proxy leads there."""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from typing import Any


def checked_base_url(base_url: str, module: Any, *, allow_http: bool) -> Any:
    """The URL with its last slash, as httpx's (or httpx2's) ``URL``.

    Raises:
        ValueError: It is not ``https://``, or ``http://`` to a loopback host or allowed, or it has more than
            a path.
    """
    try:
        url = module.URL(base_url if base_url.endswith("/") else base_url + "/")
    except module.InvalidURL as error:
        raise ValueError(f"base_url is not a URL: {error}") from error
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must have no user, password, query or fragment")
    if not url.host or url.scheme not in {"http", "https"}:
        raise ValueError(f"base_url must be an https:// URL, not {base_url!r}")
    if is_unencrypted(url) and not allow_http:
        raise ValueError(
            f"base_url {base_url!r} would send the credentials unencrypted: use https:// (http:// is for "
            "loopback hosts; allow_http=True takes it for a stand-in within a closed network)"
        )
    return url


def is_unencrypted(url: Any) -> bool:
    """Whether the credentials would leave this machine in clear."""
    return url.scheme == "http" and not is_loopback(url.host)


def is_loopback(host: str) -> bool:
    """Whether this host is this machine, in any of the forms that an address has."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.removesuffix(".") == "localhost" or _is_short_loopback(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_short_loopback(host: str) -> bool:
    """``127.1`` and ``0x7f000001`` lead there, too."""
    try:
        return ipaddress.ip_address(socket.inet_aton(host)).is_loopback
    except (OSError, UnicodeError):
        return False


def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment sets for this URL; the standard library knows the rules.

    None for loopback: a proxy would look for it on its own machine, and read the credentials on the way.
    """
    if is_loopback(host) or host.removesuffix(".").endswith(".localhost"):
        return None
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
