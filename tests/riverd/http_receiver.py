"""A receiver of alerts on a free port: it answers as it is told to, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

DEADLINE_S = 30.0


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    content: Any


class HttpReceiver:
    """Answers each POST with the next of ``codes``, with 200 when there are none left; ``hangs`` answers none."""

    def __init__(self, *codes: int, hangs: bool = False) -> None:
        self.codes = list(codes)
        self.received: list[Received] = []
        self.released = threading.Event()
        self._changed = threading.Condition()
        if not hangs:
            self.released.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._changed:
                    code = receiver.codes.pop(0) if receiver.codes else 200
                    receiver.received.append(Received(self.path, dict(self.headers), json.loads(body)))
                    receiver._changed.notify_all()
                receiver.released.wait()
                answer = b"no, because" if code >= 400 else b""
                self.send_response(code)
                self.send_header("Content-Length", str(len(answer)))
                if 300 <= code < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:  # whoever waited has given up
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def wait_for(self, count: int) -> list[Received]:
        """What came, once it is so much."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.received) >= count, DEADLINE_S)
        assert came, f"{len(self.received)} of {count} came"
        return self.received

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
