"""The HTTP interface."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.params import Security
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from riverd import __version__
from riverd.web.access import Guard
from riverd.web.docs_page import HEADERS, docs_page
from riverd.web.link import Link, NotStartedError
from riverd.web.metrics import StatusCollector
from riverd.web.retrain import Asked, answer_alerts
from riverd.web.webhook import EXAMPLE

ANSWER_WITHIN_S = 30.0

SECURED = [
    Security(HTTPBearer(auto_error=False, description="The token in RIVERD_TOKEN"))
]  # for the docs: Guard checks


class Fault(BaseModel):
    """Why not."""

    detail: str


class Learning(BaseModel):
    """Whether riverd learns."""

    model_config = ConfigDict(strict=True, extra="forbid")

    state: Annotated[Literal["paused", "running"], Field(description="paused: join, serve and judge, but don't learn")]


class Thaw(BaseModel):
    """What became of a thaw."""

    thawed: Annotated[bool, Field(description="false: nothing was frozen, so predictions expire as before")]


def create_app(link: Link, *, token: str | None, reading_needs_token: bool) -> ASGIApp:
    """The app, with its guard around it; see ``Guard`` for the parameters."""
    app = FastAPI(
        title="riverd",
        version=__version__,
        description="A logistic model that keeps learning from a stream with late labels.",
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(link))

    @app.exception_handler(NotStartedError)
    def starting(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": "riverd is starting; ask again in a second."}, 503, {"Retry-After": "1"})

    @app.get("/status", responses=_faults(503), response_model=None)
    async def status() -> Response:
        """How the engine stands: one JSON document, at most a second old while it is well."""
        return Response(link.line, media_type="application/json")

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def metrics(request: Request) -> Response:
        """The same for Prometheus."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        """This interface, for people."""
        return HTMLResponse(docs_page(app.openapi(), url=str(request.base_url)), headers=HEADERS)

    @app.get("/livez", responses=_faults(503))
    async def livez() -> JSONResponse:
        """200 while the engine is heard of, else 503: then it hangs, and should be started again."""
        silent_s = round(link.silent_s, 1)
        if link.alive:
            return JSONResponse({"alive": True, "silent_seconds": silent_s})
        return JSONResponse({"detail": f"the engine has not been heard of for {silent_s:.0f} s"}, 503)

    @app.get("/readyz", responses=_faults(503))
    async def readyz() -> JSONResponse:
        """200 when the state is restored, messages are read and the store can be written; else 503 with the reason."""
        reasons = _why_not_ready(link)
        if not reasons:
            return JSONResponse({"ready": True})
        return JSONResponse({"detail": "; ".join(reasons)}, 503)

    @app.post("/learning", dependencies=SECURED, responses=_faults(400, 401, 403, 504))
    async def learning(wanted: Learning) -> Learning:
        """Pause or resume learning, from the next record on; it outlives restarts."""
        what = "pause" if wanted.state == "paused" else "resume"
        document = await link.command(what, timeout_s=ANSWER_WITHIN_S)
        return Learning(state="running" if document.status.paused_by is None else "paused")

    @app.post("/labels/thaw", dependencies=SECURED, responses=_faults(401, 403, 503, 504))
    async def thaw() -> Thaw:
        """Let predictions expire although labels have stalled, until these flow again or for one window."""
        frozen = link.document.status.stalled_since is not None
        await link.command("thaw", timeout_s=ANSWER_WITHIN_S)
        return Thaw(thawed=frozen)

    @app.post(
        "/api/retrain",
        dependencies=SECURED,
        status_code=202,
        response_model=Asked,
        responses={200: {"model": Asked, "description": "Nothing new"}} | _faults(400, 401, 403, 413, 422, 503, 504),
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"example": EXAMPLE}}}},
    )
    async def retrain(request: Request) -> Response:
        """Ask for a retrain, by Alertmanager's webhook: once for each alert, however often it is repeated."""
        return await answer_alerts(link, request, within_s=ANSWER_WITHIN_S)

    @app.exception_handler(TimeoutError)
    def late(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse(
            {"detail": f"the engine has not answered within {ANSWER_WITHIN_S:.0f} s; it will do it when it can"}, 504
        )

    return Guard(app, token=token, reading_needs_token=reading_needs_token)


def _why_not_ready(link: Link) -> list[str]:
    document = link.document
    reasons: list[str] = []
    if not link.alive:
        reasons.append(f"the engine has not been heard of for {link.silent_s:.0f} s")
    if document.status.phase not in ("reading", "waiting"):
        reasons.append(f"the engine is {document.status.phase}")
    if document.status.store_error is not None:
        reasons.append(f"the last checkpoint failed: {document.status.store_error}")
    return reasons


def _faults(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Fault} for code in codes}
