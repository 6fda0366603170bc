"""``python -m tests.faults.forks``: has imported the project, and forks a process for every command that is wanted.

An import takes more than a second of a core, and a cell starts up to a dozen commands. Each is still a process of its
own, with its own memory, files, environment and end; the API processes are started by ``serve`` as everywhere.

A request is one message on the socket whose number is the only argument: JSON, with the command's log and the
line to whoever waits for it. Down that line go the process's number and, when it has ended, its status (-9: killed).
"""

import json
import os
import runpy
import signal
import socket
import sys
import tempfile

import creditshare.app
import creditshare.cli  # noqa: F401  imported once for all commands

MESSAGE_BYTES = 65_536


def main() -> None:
    """Serve until nobody is left at the other end."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers leave nothing to wait for
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, MESSAGE_BYTES, 2)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            keep(json.loads(message), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def keep(order: dict[str, object], log: int, line: int) -> None:
    """Fork the command, wait for its end and tell it; in the command itself, return when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(line)
        for output in (1, 2):
            os.dup2(log, output)
        os.close(log)
        become(**order)  # type: ignore[arg-type]  # as `Commands.start` wrote it
        return
    os.write(line, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(line, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(arguments: list[str], environment: dict[str, str]) -> None:
    """Be the command."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # asked anew, of this environment
    if "LD_PRELOAD" in environment:  # read by the loader of a new program only
        os.execv(sys.executable, [sys.executable, "-m", "creditshare", *arguments])  # noqa: S606  no shell is wanted
    sys.argv = ["creditshare", *arguments]
    runpy.run_module("creditshare", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
