"""``POST /api/retrain``: alerts that fire ask for a retrain."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from riverd.web.link import Link
from riverd.web.webhook import MAX_BYTES, NotOurs, read_webhook


class Asked(BaseModel):
    """What became of alerts that ask for a retrain."""

    asked: Annotated[bool, Field(description="false: nothing new was asked for")]
    request: Annotated[int | None, Field(description="its number; that of the earlier one if all alerts were known")]
    detail: str


async def answer_alerts(link: Link, request: Request, *, within_s: float) -> JSONResponse:
    """Have a request stored for the alerts of the body, unless all of them were known; tell what became of it."""
    body = await _read(request, at_most=MAX_BYTES)
    if body is None:
        return JSONResponse({"detail": f"the body is longer than {MAX_BYTES:,} bytes"}, 413)
    firing = read_webhook(body)
    if isinstance(firing, NotOurs):
        return JSONResponse({"detail": firing.detail}, firing.code)
    if not firing.keys:
        return _told(Asked(asked=False, request=None, detail="no alert fires"))
    _ = link.document  # an engine that has not spoken yet may not listen for long
    answer = await link.ask("retrain", firing.arguments, keys=firing.keys, timeout_s=within_s)
    if answer.fault is not None:
        return JSONResponse({"detail": f"nothing was asked: {answer.fault}"}, 503, {"Retry-After": "10"})
    if answer.is_new:
        detail = "`riverd retrain list` tells what is decided, and why"
    else:
        detail = "these alerts have asked before"
    return _told(Asked(asked=answer.is_new, request=answer.request, detail=detail))


def _told(asked: Asked) -> JSONResponse:
    return JSONResponse(asked.model_dump(), 202 if asked.asked else 200)


async def _read(request: Request, *, at_most: int) -> bytes | None:
    """The body, or None if it is longer; the rest of it is not read then."""
    body = b""
    with suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > at_most:
                return None
    return body
