"""A way to PostgreSQL that is cut just when a commit goes through it."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

LOSE_REQUEST = "the server never hears of the commit"
LOSE_ANSWER = "the server commits, and nobody hears of that"
LATE = "the server hears of the commit when nobody waits for it any more"
CUTS = (LOSE_REQUEST, LOSE_ANSWER, LATE)
CHECKPOINT, COMMIT = b"INSERT INTO checkpoints", b"COMMIT\0"


class Cutter:
    """Listens on ``port`` and hands everything on to a server, until it is told to cut the next checkpoint's commit.

    Parameters
    ----------
    late_s
        How long a late commit is on its way.
    """

    def __init__(self, server_port: int, *, late_s: float = 0.3) -> None:
        self.server_port = server_port
        self.late_s = late_s
        self.cuts = 0
        self._plan: Iterator[str | None] = iter(())
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def plan(self, *cuts: str | None, for_ever: bool = False) -> None:
        """What is done to each commit in turn, one of ``CUTS`` or None."""
        self._plan = itertools.cycle(cuts) if for_ever else iter(cuts)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.server_port))
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        writes = False
        with suppress(OSError):
            while data := client.recv(1 << 16):
                writes = writes or CHECKPOINT in data
                if writes and COMMIT in data:
                    writes, how = False, next(self._plan, None)
                    if how is not None:
                        self.cuts += 1
                        self._cut(how, data, client, server)
                        return
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _cut(self, how: str, data: bytes, client: socket.socket, server: socket.socket) -> None:
        # the client gets a reset; what answers there is goes nowhere
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.shutdown(socket.SHUT_RDWR)
        client.close()
        if how == LOSE_REQUEST:
            server.shutdown(socket.SHUT_RDWR)
            return
        if how == LATE:
            threading.Event().wait(self.late_s)
        server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                with suppress(OSError):
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
