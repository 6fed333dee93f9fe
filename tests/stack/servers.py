"""The servers that the tests use, real and without Docker: Kafka, Apicurio Registry and Cassandra.

    python tests/stack/servers.py up             start what is not running, write .stack/env; safe to repeat
    python tests/stack/servers.py down           stop all and forget their data
    python tests/stack/servers.py status         what runs where; exit status 1 if something does not answer
    python tests/stack/servers.py stop kafka     stop one, keep its port and data; `start`, `restart`, `kill` likewise
    python tests/stack/servers.py jars           fetch what they are made of to .stack/lib, start nothing
    python tests/stack/servers.py run -- CMD     `up`, CMD, `down` if this call did the `up`; exit status of CMD

Standard library only. The jars come from Maven by the coordinates in pom.xml. Each server listens on a free port of
127.0.0.1, has a folder of its own below .stack/ and at most a gigabyte. Only processes whose command line carries
this checkout's mark are ever stopped.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from definitions import HERE, HOME, LIB, SERVERS, Server, StackError, find_java, mark

ENV = HOME / "env"
# Below Linux's range for outgoing connections (32768 and up): a port from there may be taken, even by a client that
# connects to itself, while its server is down for a moment.
PORTS = range(20_000, 30_000)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- what they need ---------------------------------------------------------------------------------------------------


def fetch_jars() -> None:
    """Have Maven put each server's jars below .stack/lib, unless they are those of this pom.xml."""
    pom = HERE / "pom.xml"
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    for name in SERVERS:
        stamp = LIB / f"{name}.stamp"
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        if not shutil.which("mvn"):
            raise StackError("Maven is not on this machine: apt-get install maven")
        say(f"{name}: fetching its jars")
        shutil.rmtree(LIB / name, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-ntp", "-f", str(pom), "-P", name, f"-Djars={LIB / name}", "process-resources"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900
        )
        if done.returncode:
            raise StackError(f"{name}: Maven could not fetch the jars named in {pom}:\n{done.stdout.strip()}")
        stamp.write_text(wanted)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def known_ports() -> dict[str, int]:
    """The ports of this stack; chosen anew when there are none or when a new server needs some."""
    path = HOME / "ports.json"
    ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for server in SERVERS.values() for name in server.ports if name not in ports]
    free = (port for port in random.sample(PORTS, len(PORTS)) if port not in ports.values() and is_free(port))
    ports |= dict(zip(missing, free, strict=False))
    if missing:
        path.write_text(json.dumps(ports, indent=2) + "\n")
    return ports


# --- processes --------------------------------------------------------------------------------------------------------


def command_line(pid: int) -> list[str]:
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.parent.parent.joinpath("self").exists():
        try:
            return proc.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    return subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()


def running(name: str) -> int | None:
    """Process id of the server, if it is alive and really ours."""
    try:
        pid = int((HOME / name / "pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if mark(name) in command_line(pid) else None


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def launch(server: Server, java: str, ports: dict[str, int]) -> None:
    # A process that just ended has lost its command line a moment before it gives its ports back.
    wait_until(lambda: all(is_free(ports[name]) for name in server.ports), 10)
    taken = [port for name in server.ports if not is_free(port := ports[name])]
    if taken:
        raise StackError(f"{server.name}: port {taken[0]} is taken by another program; `down` and `up` choose new ones")
    folder = HOME / server.name
    again = (folder / "data").exists()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    command = server.command(java, ports, folder / "data")
    say(f"{server.name}: starting on {server.address.format(ports[server.name])}")
    with (folder / "log").open("ab" if again else "wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
    (folder / "pid").write_text(str(process.pid))
    # For an instant a new program has no command line yet, which must not look like its end.
    wait_until(lambda: running(server.name) is not None or process.poll() is not None, 10)


def await_answer(server: Server, ports: dict[str, int]) -> None:
    began = time.monotonic()
    port = ports[server.name]
    log = HOME / server.name / "log"
    wait_until(lambda: running(server.name) is None or server.answers(port), server.limit_s)
    if running(server.name) is None or not server.answers(port):
        state = "ended" if running(server.name) is None else f"does not answer after {server.limit_s} s"
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        raise StackError(f"{server.name} {state}; its log is {log}:\n  {tail}")
    say(f"{server.name}: answers after {time.monotonic() - began:.1f} s")


def end(name: str, *, grace_s: float) -> None:
    """Stop one server: SIGTERM, and SIGKILL after *grace_s* seconds. Its port and data stay."""
    pid = running(name)
    if pid is None:
        return
    say(f"{name}: stopping")
    if grace_s:
        os.kill(pid, signal.SIGTERM)
        if wait_until(lambda: running(name) is None, grace_s):
            return
    if running(name) == pid:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running(name) is None, 10)


# --- commands ---------------------------------------------------------------------------------------------------------


@contextmanager
def locked() -> Iterator[None]:
    """One start or stop at a time in a checkout."""
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(names: Sequence[str]) -> None:
    """Start those of *names* that do not run, and wait until each answers."""
    java = find_java()
    LIB.mkdir(parents=True, exist_ok=True)
    fetch_jars()
    ports = known_ports()
    asleep = [name for name in names if running(name) is None]
    # Kafka and Cassandra start side by side; the registry ends at once when it finds no Kafka.
    for wave in (("kafka", "cassandra"), ("registry",)):
        for name in (name for name in wave if name in asleep):
            launch(SERVERS[name], java, ports)
        for name in (name for name in wave if name in names):
            await_answer(SERVERS[name], ports)
    lines = (f"KAPPAWATT_TEST_{name.upper()}={s.address.format(ports[name])}\n" for name, s in SERVERS.items())
    ENV.write_text("".join(lines))


def up() -> None:
    with locked():
        start(tuple(SERVERS))


def down() -> None:
    with locked():
        for name in reversed(SERVERS):
            end(name, grace_s=10)
            # The log stays: it is all there is to read when a start went wrong.
            shutil.rmtree(HOME / name / "data", ignore_errors=True)
        ENV.unlink(missing_ok=True)
        (HOME / "ports.json").unlink(missing_ok=True)


def status() -> bool:
    """Print a line a server; True if all answer."""
    if not (HOME / "ports.json").exists():
        say(f"not started; `python {Path(__file__).name} up` starts all")
        return False
    ports = known_ports()
    good = True
    for name, server in SERVERS.items():
        pid, answers = running(name), server.answers(ports[name])
        good &= pid is not None and answers
        state = "down" if pid is None else "answers" if answers else "does not answer"
        print(f"{name:10} {server.address.format(ports[name]):45} pid {pid or '-':<8} {state}")
    return good


def run(command: Sequence[str]) -> int:
    """Exit status of *command*, run with all servers up; what this call started is stopped again."""
    ours = all(running(name) is None for name in SERVERS)
    # Also when it is told to end while the servers come up, what it started has to go.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        up()
        child = subprocess.Popen(command)

        def forward(number: int, _frame: FrameType | None) -> None:
            child.send_signal(number)

        signal.signal(signal.SIGTERM, forward)
        # A terminal sends Ctrl-C to the child as well; it decides, we wait and clean up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = child.wait()
        return code if code >= 0 else 128 - code
    finally:
        if ours:
            down()


def one(action: str, name: str) -> None:
    with locked():
        if action in ("stop", "restart", "kill"):
            end(name, grace_s=0 if action == "kill" else 30)
        if action in ("start", "restart"):
            start((name,))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    for action in ("up", "down", "status", "jars"):
        actions.add_parser(action)
    for action in ("start", "stop", "restart", "kill"):
        actions.add_parser(action).add_argument("server", choices=SERVERS)
    actions.add_parser("run").add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    try:
        if given.action == "status":
            return 0 if status() else 1
        if given.action == "run":
            return run(given.command)
        if given.action == "jars":
            with locked():
                LIB.mkdir(parents=True, exist_ok=True)
                fetch_jars()
        elif given.action in ("up", "down"):
            up() if given.action == "up" else down()
        else:
            one(given.action, given.server)
    except StackError as error:
        say(f"servers: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
