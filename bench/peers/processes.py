"""Programs that are started for a measurement, and end with it whatever happens."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Failed(Exception):
    """A peer could not be measured."""


class Skipped(Exception):
    """A peer cannot be had on this machine."""


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait(what, patience, holds, pause=0.05):
    until = time.monotonic() + patience
    while not holds():
        if time.monotonic() > until:
            raise Failed(f"{what} did not come to pass in {patience} s")
        time.sleep(pause)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def run(command, patience, **options):
    """A program that ends by itself; gives back what it printed."""
    try:
        done = subprocess.run(
            command, timeout=patience, text=True, stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=die_with_parent, **options
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[0])} was not over after {patience} s") from None
    if done.returncode:
        raise Failed(f"{os.path.basename(command[0])}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


@contextlib.contextmanager
def program(log, command, **options):
    """A program that runs until the block ends: asked to stop, then stopped, with all its children."""
    with open(log, "ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, preexec_fn=die_with_parent, **options
        )
    try:
        yield process
    except Failed as failure:
        with open(log, encoding="utf-8", errors="replace") as file:
            raise Failed(f"{failure}; {os.path.basename(log)}: {file.read()[-600:].strip()}") from None
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
            process.terminate()
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
