"""What the server refuses and what the browser may do."""

import ipaddress
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kappawatt.errors import SettingsError

INSECURE = "KAPPAWATT_DASH_INSECURE"


def check_host(host: str, environ: Mapping[str, str]) -> None:
    """Refuse to listen on more than this machine: the page has no log-in.

    Raises:
        SettingsError: *host* is no loopback address and `KAPPAWATT_DASH_INSECURE` is not 1.
    """
    if is_loopback(host) or environ.get(INSECURE) == "1":
        return
    raise SettingsError(
        f"--host {host} would show every run to whoever reaches this machine, and the page has no log-in; "
        f"use 127.0.0.1 behind a proxy or an SSH tunnel, or set {INSECURE}=1 if the network is trusted"
    )


def is_loopback(host: str) -> bool:
    """Whether *host* is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def policy(script_hashes: Sequence[str]) -> str:
    """The content security policy: everything from this server, no other inline script than Dash's own.

    Styles are inline because Mantine and Plotly set them so.
    """
    scripts = " ".join(("'self'", *script_hashes))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """ASGI layer that answers only requests meant for this host, and sends the browser its limits.

    A foreign name in `Host` means that a page elsewhere points its own name at this machine (DNS rebinding).

    Args:
        app: What is guarded.
        hosts: Names that count as this host, without port; None takes all.
        policy: Value of `Content-Security-Policy`.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, policy: str) -> None:
        self._app = app
        self._hosts = hosts
        self._headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._hosts is not None and _name(Headers(scope=scope).get("host", "")) not in self._hosts:
            refused = PlainTextResponse("This server answers to 127.0.0.1 and localhost only.\n", status_code=421)
            await refused(scope, receive, send)
            return

        # An asset's address holds a hash of all of them, so it may be kept for good.
        kept = scope["path"].startswith("/assets/") and scope["query_string"].startswith(b"v=")

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if kept and message["status"] == 200:
                    headers["cache-control"] = "public, max-age=31536000, immutable"
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_limits)


def _name(host: str) -> str:
    """The name of a `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
