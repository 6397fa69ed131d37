"""The routes of the JSON API, and the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi import Path as PathField
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount

from ..errors import FusionError
from ..version import __version__
from .guard import Guard
from .jobs import Job, Queue
from .limits import Limits, Refused
from .messages import (
    ErrorAnswer,
    FileAnswer,
    HealthAnswer,
    JobAnswer,
    ModelAnswer,
    SayAnswer,
    StatusAnswer,
    file_answer,
    job_answer,
)
from .request import CHOICES, FuseRequest, parse_request
from .store import Store, Upload
from .uploads import Form, read_form
from .views import LONGEST, Part, picture

PAGE = Path(__file__).with_name("page")
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "A mistake in the request, or a limit."},
    "5XX": {"model": ErrorAnswer, "description": "The server cannot do it."},
}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A picture."}}
BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file of the result."}
}
Coordinate = Annotated[int, Query(ge=0, le=1 << 24, description="Of the part's corner, in pixels of the image.")]
Extent = Annotated[int | None, Query(ge=1, le=1 << 24, description="Of the part, in pixels of the image.")]
Longest = Annotated[int | None, Query(ge=1, le=LONGEST, description="Longer side of the picture that is sent.")]


def part_of(
    x: Coordinate = 0, y: Coordinate = 0, width: Extent = None, height: Extent = None, size: Longest = None
) -> Part:
    """The part of a picture that a query names."""
    return Part(x, y, width, height, size)


Wanted = Annotated[Part, Depends(part_of)]
Number = Annotated[int, PathField(ge=0, le=10_000, description="Of the input, from 0.")]


class Server:
    """What all routes share: the store and the queue, from start to stop."""

    def __init__(self, limits: Limits, device: str, model: str, base: str | Path | None, token: str | None) -> None:
        self.limits, self.device, self.model, self.base = limits, device, model, base
        self.token = token is not None
        self.store: Store
        self.queue: Queue

    @asynccontextmanager
    async def life(self, app: FastAPI) -> AsyncIterator[None]:
        """The folder and the workers, as long as the application runs."""
        self.store = Store(self.base, self.limits.store)
        self.queue = Queue(self.store, self.limits, self.device, self.model)
        try:
            self.queue.start()
            yield
        finally:
            await self.queue.stop()
            self.store.close()

    def answer(self, job: Job) -> JobAnswer:
        """What the API tells of a job."""
        return job_answer(job, self.queue, time.time())

    def finished(self, key: str) -> Job:
        """A job whose result is there; raises Refused where it is not."""
        job = self.queue.find(key)
        if job.state == "failed":
            raise Refused(job.error or "the job failed", job.status)
        if job.state == "cancelled":
            raise Refused("the job was cancelled; send it again", 410)
        if job.state != "done":
            raise Refused(f"the job is {job.state}; wait until it is done (GET /v1/jobs/ID/events tells)", 409)
        return job

    async def form(self, request: Request) -> Form:
        """The form of a request, within the limits."""
        size = request.headers.get("content-length", "")
        most = self.limits.upload * self.limits.files + (1 << 20)
        if size.isdigit() and int(size) > most:
            raise Refused(f"a request of {int(size)} bytes is more than this server takes ({most})", 413)
        chunks = request.stream()
        return await read_form(chunks, request.headers.get("content-type", ""), self.store, self.limits)

    async def view(self, path: Path, part: Part, step: int = 1) -> Response:
        """A part of a view as PNG."""
        return Response(await asyncio.to_thread(picture, path, part, step), media_type="image/png")


def create_app(
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
    addresses: bool = False,
    device: str = "auto",
    model: str = "anyfuse",
    base: str | Path | None = None,
) -> FastAPI:
    """The application, for uvicorn or another ASGI server.

    Args:
        limits: what it takes on; None: the defaults.
        token: that requests must bear; None: none.
        hosts: names by which it may be called, beside those of this machine.
        addresses: whether it may be called by any address in digits.
        device: where models run.
        model: that is loaded at the start.
        base: folder in which it makes its own; None: the temporary folder of the system.
    """
    server = Server(limits or Limits(), device, model, base, token)
    app = FastAPI(
        title="anyfuse",
        version=__version__,
        summary="Fuses images of one scene into one image.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # both pages load scripts from other sites
        redoc_url=None,
        lifespan=server.life,
    )
    app.state.server = server
    app.include_router(file_routes(server))
    app.include_router(job_routes(server))
    app.include_router(result_routes(server))
    app.include_router(other_routes(server))
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_exception_handler(FusionError, told)
    app.add_exception_handler(RequestValidationError, told)
    app.add_exception_handler(HTTPException, told)
    app.add_exception_handler(Exception, told)
    app.add_middleware(Guard, token=token, hosts=hosts, addresses=addresses)
    return app


async def told(request: Request, error: Exception) -> JSONResponse:
    """Any error as one line of JSON."""
    headers: dict[str, str] = {}
    if isinstance(error, FusionError):
        status, text = (error.status, str(error)) if isinstance(error, Refused) else (400, str(error))
        if isinstance(error, Refused) and error.retry is not None:
            headers["retry-after"] = str(error.retry)
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, text = 400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg'].lower()}"
    elif isinstance(error, HTTPException):
        known = methods_of(request) if error.status_code in (404, 405) else []
        headers |= error.headers or {}
        status, text = error.status_code, str(error.detail).lower()
        if known:
            headers = {"allow": ", ".join(known)}
            status, text = 405, "method not allowed"
        text += "; GET /v1/openapi.json lists what there is"
    else:
        status, text = 500, f"{type(error).__name__} in the server; please report this"
    return JSONResponse({"error": text}, status, headers)


def methods_of(request: Request) -> list[str]:
    """What the API takes at the path of a request; none where it is no path of the API."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    methods = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
    tried = {method: {**request.scope, "method": method} for method in methods}
    return [m for m, scope in tried.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def form_schema(only_file: bool = False) -> dict[str, Any]:
    """The part of OpenAPI about a form: its body is read as it comes, so FastAPI does not know it."""
    file = {"type": "string", "format": "binary"}
    kinds = {bool: "boolean", int: "integer", str: "string"}
    if only_file:
        body: dict[str, Any] = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    else:
        properties: dict[str, Any] = {
            "files": {"type": "array", "items": file, "description": "Images of one scene."},
            "file_ids": {"type": "array", "items": {"type": "string"}, "description": "Of POST /v1/files."},
        }
        for one in fields(FuseRequest):
            bounds: dict[str, Any] = {"enum": list(CHOICES[one.name])} if one.name in CHOICES else {}
            bounds |= {"quality": {"minimum": 1, "maximum": 100}, "reference": {"minimum": 0}}.get(one.name, {})
            properties[one.name] = {"type": kinds[type(one.default)], "default": one.default, **bounds}
        body = {"type": "object", "properties": properties}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": body}}}}


def file_routes(server: Server) -> APIRouter:
    """Uploads that are used by their id."""
    api = APIRouter(prefix="/v1/files", tags=["files"], responses=ERRORS)

    @api.post("", status_code=201, openapi_extra=form_schema(only_file=True))
    async def upload(request: Request) -> FileAnswer:
        """Keep a file for jobs that name it by its id, and look at it."""
        form = await server.form(request)
        if len(form.uploads) != 1:
            for one in form.uploads:
                server.store.drop(one)
            raise Refused(f"{len(form.uploads)} files were sent; send one as field 'file'")
        one = form.uploads[0]
        try:
            await server.queue.inspect(one)
        except BaseException:  # also a cancelled request must not leave files
            server.store.drop(one)
            raise
        if one.error is not None:
            server.store.drop(one)
            raise Refused(one.error, 422)
        server.store.add(one)
        return file_answer(one)

    @api.get("/{key}")
    async def facts(key: str) -> FileAnswer:
        """What a file is."""
        return file_answer(server.store.find(key))

    @api.get("/{key}/preview", response_class=Response, responses=PNG)
    async def preview(key: str, part: Wanted) -> Response:
        """The file as 8-bit PNG, or a part of it."""
        one = server.store.find(key)
        return await server.view(one.folder / "view.npy", part)

    @api.delete("/{key}", status_code=204)
    async def delete(key: str) -> None:
        """Remove a file; jobs that were sent keep it."""
        server.store.drop(server.store.find(key))

    return api


def job_routes(server: Server) -> APIRouter:
    """Jobs: send, watch, cancel."""
    api = APIRouter(prefix="/v1", tags=["jobs"], responses=ERRORS)

    @api.post("/fuse", status_code=202, openapi_extra=form_schema(), response_model=JobAnswer)
    async def fuse(
        request: Request,
        wait: Annotated[bool, Query(description="Answer with the file of the result, once it is done.")] = False,
    ) -> Any:
        """Fuse images: files of this form, or of POST /v1/files by their ids."""
        form = await server.form(request)
        try:
            job = await submitted(server, form)
        finally:
            for one in form.uploads:
                server.store.drop(one)  # the job has its own link
        if not wait:
            return server.answer(job)
        try:
            await server.queue.wait(job)
            return sent(server.finished(job.id))
        except asyncio.CancelledError:  # the client went away
            await server.queue.drop(job)
            raise

    @api.get("/jobs/{key}")
    async def state(key: str) -> JobAnswer:
        """State and progress of a job."""
        return server.answer(server.queue.find(key))

    @api.get("/jobs/{key}/events", response_class=StreamingResponse)
    async def events(key: str) -> StreamingResponse:
        """State and progress at each change, as server-sent events, until the job is over."""
        job = server.queue.find(key)

        async def stream() -> AsyncIterator[str]:
            async for changed in server.queue.follow(job):
                yield f"data: {server.answer(job).model_dump_json()}\n\n" if changed else ": waiting\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    @api.delete("/jobs/{key}")
    async def cancel(key: str) -> JobAnswer:
        """Cancel a job that waits or runs; remove one that is over. Its files go."""
        job = server.queue.find(key)
        if job.over:
            await server.queue.drop(job)
        else:
            await server.queue.cancel(job)
        return server.answer(job)

    return api


async def submitted(server: Server, form: Form) -> Job:
    """The job of a form."""
    given = dict(form.fields)
    kept: list[Upload] = [server.store.find(key) for key in given.pop("file_ids", [])]
    models = [name for row in await server.queue.models() for name in (row["name"], *row["aliases"])]
    request = parse_request(given, models)
    if request.say:
        await server.queue.understand(request.say)
    return server.queue.submit([*form.uploads, *kept], request)


def sent(job: Job) -> FileResponse:
    """The file of a result."""
    return FileResponse(job.folder / job.facts["file"], filename=job.facts["report"]["output"])


def result_routes(server: Server) -> APIRouter:
    """What a finished job left."""
    api = APIRouter(prefix="/v1/jobs/{key}", tags=["results"], responses=ERRORS)

    def indexed(key: str, number: int, count: str) -> tuple[Job, int]:
        job = server.finished(key)
        has = len(job.facts["inputs"]) if count == "inputs" else job.facts["weights"]
        if number >= has:
            what = "inputs" if count == "inputs" else "weight maps"
            raise Refused(f"{count} {number}: there are {has} {what}, counted from 0", 404)
        return job, job.facts["step"]

    @api.get("/result", response_class=FileResponse, responses=BINARY)
    async def result(key: str) -> FileResponse:
        """The fused image in its own format and depth, with metadata."""
        return sent(server.finished(key))

    @api.get("/report")
    async def report(key: str) -> dict[str, Any]:
        """What was done: sizes, model, alignment, times, warnings, metrics."""
        return dict(server.finished(key).facts["report"])

    @api.get("/histograms")
    async def histograms(key: str) -> dict[str, list[list[int]]]:
        """How many pixels have each of 256 values: of the result and of each aligned input, a list per channel."""
        return dict(server.finished(key).facts["histograms"])

    @api.get("/preview", response_class=Response, responses=PNG)
    async def preview(key: str, part: Wanted) -> Response:
        """The fused image as 8-bit PNG, or a part of it."""
        return await server.view(server.finished(key).folder / "result.npy", part)

    @api.get("/inputs/{number}", response_class=Response, responses=PNG)
    async def inputs(key: str, number: Number, part: Wanted) -> Response:
        """An input as it was fused, aligned, as 8-bit PNG, or a part of it."""
        job, step = indexed(key, number, "inputs")
        return await server.view(job.folder / f"input-{number}.npy", part, step)

    @api.get("/weights/{number}", response_class=Response, responses=PNG)
    async def weights(key: str, number: Number, part: Wanted) -> Response:
        """The weight of an input at each pixel as grey PNG, white where it makes up the whole result."""
        job, step = indexed(key, number, "weights")
        return await server.view(job.folder / f"weights-{number}.npy", part, step)

    return api


def other_routes(server: Server) -> APIRouter:
    """Models, limits, instructions, health."""
    api = APIRouter(prefix="/v1", tags=["server"], responses=ERRORS)

    @api.get("/models")
    async def models() -> list[ModelAnswer]:
        """The models that this server has."""
        return [ModelAnswer(**row) for row in await server.queue.models()]

    @api.get("/say")
    async def say(text: Annotated[str, Query(max_length=4000)]) -> SayAnswer:
        """How an instruction is understood."""
        return SayAnswer(**await server.queue.understand(text))

    @api.get("/status")
    async def status() -> StatusAnswer:
        """Limits, and how much there is to do."""
        running = sum(job.state == "running" for job in server.queue.jobs.values())
        return StatusAnswer(limits=server.limits.as_dict(), running=running, waiting=len(server.queue.waiting))

    @api.get("/health")
    async def health() -> HealthAnswer:
        """Whether the server answers."""
        return HealthAnswer(token=server.token)

    return api
