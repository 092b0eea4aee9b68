"""The web process: serves what comes on standard input, and ends when that does, however the engine ended."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys

import uvicorn

from riverd.web.app import create_app
from riverd.web.link import Link
from riverd.web.token import token_from_environment

LONGEST_LINE = 1 << 24
CONNECTIONS = 256  # more are answered with 503


def main() -> None:
    """Serve on the listening socket whose number is the last argument; "guarded" before it: reading needs the token."""
    guarded, number = sys.argv[-2] == "guarded", int(sys.argv[-1])
    commands = os.dup(1)
    os.dup2(2, 1)  # what anybody prints must not be taken for a command
    logging.basicConfig(format="%(asctime)s %(levelname)s web: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    asyncio.run(serve(socket.socket(fileno=number), commands=commands, reading_needs_token=guarded))


async def serve(listening: socket.socket, *, commands: int, reading_needs_token: bool) -> None:
    """Serve until standard input ends."""
    link = Link(lambda line: os.write(commands, line))
    app = create_app(link, token=token_from_environment(), reading_needs_token=reading_needs_token)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def listen() -> None:
        async for line in lines:
            await link.hear(line)
        server.should_exit = True

    hearing = asyncio.create_task(listen())
    await server.serve([listening])
    hearing.cancel()


if __name__ == "__main__":
    main()
