"""What the JSON API answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ..version import __version__
from .jobs import Job, Queue
from .store import Upload


class ErrorAnswer(BaseModel):
    """Any answer of status 4xx or 5xx."""

    error: str = Field(description="One line that says what is wrong and what to do.")


class FileAnswer(BaseModel):
    """An uploaded file."""

    id: str
    name: str
    bytes: int
    width: int | None = None
    height: int | None = None
    depth: str | None = Field(None, description="uint8, uint16 or float32")
    colour: bool | None = None
    pages: int | None = None
    notes: list[str] = []
    error: str | None = Field(None, description="Why it cannot be read.")


class JobAnswer(BaseModel):
    """A job. Its result is there once `state` is done."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    before: int | None = Field(None, description="How many jobs are done first, while it is queued.")
    stage: str = Field(description="load, read, align, deghost, fuse, write or measure")
    share: float = Field(description="Of the stage, 0 to 1.")
    error: str | None = None
    inputs: list[str]
    options: dict[str, Any]
    seconds: float | None = Field(None, description="Since it began to run, or that it took.")
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    weights: int = Field(0, description="How many weight maps there are.")
    file: str | None = Field(None, description="Name under which the result is sent.")


class ModelAnswer(BaseModel):
    """A named model that this server has."""

    name: str
    system: str
    parameters: int
    inputs: str
    channels: str
    licence: str
    weights: bool = Field(description="Whether it has weight maps.")
    restores: bool = Field(description="Whether an instruction can name what to restore.")
    segments: bool = Field(description="Whether an instruction can name classes to highlight.")
    aliases: list[str]


class HealthAnswer(BaseModel):
    """State of the server. It needs no token, and tells no more than that."""

    ok: bool = True
    version: str = __version__
    token: bool = Field(description="Whether requests need a token.")


class StatusAnswer(BaseModel):
    """Limits, and how much there is to do."""

    limits: dict[str, int | float | None]
    running: int
    waiting: int


class SayAnswer(BaseModel):
    """How an instruction is understood."""

    tags: str
    request: dict[str, Any]


def file_answer(upload: Upload) -> FileAnswer:
    """What an owner may know of a file."""
    return FileAnswer(**upload.as_dict())  # type: ignore[arg-type]


def job_answer(job: Job, queue: Queue, now: float) -> JobAnswer:
    """What an owner may know of a job."""
    facts = {k: job.facts[k] for k in ("width", "height", "channels", "weights") if k in job.facts}
    seconds = None if job.started is None else round((job.ended or now) - job.started, 3)
    return JobAnswer(
        id=job.id,
        state=job.state,  # type: ignore[arg-type]
        before=queue.place(job),
        stage=job.stage,
        share=job.share,
        error=job.error,
        inputs=job.facts.get("inputs") or list(job.names.values()),
        options=job.request.as_dict(),
        seconds=seconds,
        file=job.facts["report"]["output"] if job.state == "done" else None,
        **facts,
    )
