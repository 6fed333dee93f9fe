"""Start the page: `run(settings)`."""

import logging
import os
import socket
import threading
import webbrowser
from typing import Protocol

import uvicorn

from kappawatt import logs
from kappawatt.commands import base
from kappawatt.errors import SettingsError

from .app import LOCAL_HOSTS, build
from .reader import Reader
from .security import check_host, is_loopback

_log = logging.getLogger(__name__)


class Settings(Protocol):
    """What the page is started with."""

    @property
    def store(self) -> str:
        """URL of the store."""

    @property
    def log(self) -> str:
        """URL of the log."""

    @property
    def host(self) -> str:
        """Address to listen on."""

    @property
    def port(self) -> int:
        """Port to listen on; 0: any free one."""

    @property
    def open_browser(self) -> bool:
        """Show the page in the browser as soon as it answers."""


def run(settings: Settings) -> int:
    """Serve the page until a signal ends it; the exit code.

    Raises:
        SettingsError: The address is not allowed, or something else listens there.
    """
    check_host(settings.host, os.environ)
    listening = listen(settings.host, settings.port)
    port = int(listening.getsockname()[1])
    address = f"http://{_in_url(settings.host)}:{port}/"
    hosts = LOCAL_HOSTS | {settings.host} if is_loopback(settings.host) else None
    reader = Reader(settings.store)
    _, served = build(reader, log=settings.log, hosts=hosts)
    server = uvicorn.Server(
        uvicorn.Config(
            served,
            log_level="warning",
            log_config=None if logs.in_json() else uvicorn.config.LOGGING_CONFIG,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=3,
        )
    )
    base.say(f"the page is at {address} (Ctrl-C ends it)")
    if settings.open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return 0
    finally:
        reader.close()
        listening.close()
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known, and taken, before anything is announced.

    Raises:
        SettingsError: The address is not one of this machine, or is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; another `kappawatt dash` may be "
            "running there, --port 0 takes any free port"
        ) from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
