"""Who may do what over HTTP: a guard around the whole app, so that no route can be forgotten.

Changing needs a token, always. Reading needs none as long as only this machine gets there, else it does too;
``/livez`` and ``/readyz`` tell nothing and never need one.
"""

from __future__ import annotations

import hmac
import json

from starlette.types import ASGIApp, Receive, Scope, Send

from riverd.web.token import VARIABLE

HARMLESS = ("GET", "HEAD", "OPTIONS")
FOR_EVERYBODY = ("/livez", "/readyz")


class Guard:
    """Lets a request through to ``app`` or answers in its place, before a byte of its body is read.

    Parameters
    ----------
    token
        What changes need; None refuses them all.
    reading_needs_token
        Other machines get here.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, reading_needs_token: bool) -> None:
        self._app = app
        self._token = token
        self._reading_needs_token = reading_needs_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            harmless = scope["method"] in HARMLESS
            guarded = not harmless or (self._reading_needs_token and scope["path"] not in FOR_EVERYBODY)
            if guarded and self._token is None:
                await _answer(
                    send, 403,
                    f"No token is set, so nothing can be changed. Set {VARIABLE} in riverd's environment, "
                    f"start it again, and send it as 'Authorization: Bearer ...'.",
                )  # fmt: skip
                return
            if guarded and not self._is_token(scope):
                await _answer(
                    send, 401, f"This needs the token that riverd finds in {VARIABLE}: 'Authorization: Bearer ...'."
                )
                return
        await self._app(scope, receive, send)

    def _is_token(self, scope: Scope) -> bool:
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        # compared in constant time: how long it takes must not tell how much of it is right
        right = hmac.compare_digest(token.strip(), (self._token or "").encode())
        return right and scheme.lower() == b"bearer" and bool(self._token)


async def _answer(send: Send, code: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
