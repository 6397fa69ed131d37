"""The JSON API: what it gives, what it refuses, and that nobody sees what is not theirs."""

from __future__ import annotations

import io
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serve_tools import Files, finished, noise

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from starlette.testclient import TestClient

import anyfuse
from anyfuse.cli import main
from anyfuse.serve.app import create_app
from anyfuse.serve.guard import host_name
from anyfuse.serve.limits import Limits
from anyfuse.serve.uploads import display_name

Shots = Callable[..., Files]


def error(answer: object) -> str:
    """The one line of an answer that refuses."""
    content = answer.json()  # type: ignore[attr-defined]
    assert set(content) == {"error"}
    assert "\n" not in content["error"]
    assert "anyfuse-serve-" not in content["error"], "no path of the server"
    return str(content["error"])


def test_fuse(api: TestClient, shots: Shots, tmp_path: Path) -> None:
    """The result is that of the package, to the bit; report, previews, weights and histograms are there."""
    sent = api.post("/v1/fuse", files=shots(3), data={"format": "png"})
    assert sent.status_code == 202
    state = finished(api, sent.json()["id"])
    assert state["state"] == "done", state
    assert state["inputs"] == ["picture-0-64.png", "picture-1-64.png", "picture-2-64.png"]
    path = f"/v1/jobs/{state['id']}"
    answer = api.get(f"{path}/result")
    assert answer.headers["content-disposition"] == 'attachment; filename="fused.png"'
    images = [np.asarray(Image.open(io.BytesIO(f[1][1]))) for f in shots(3)]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), anyfuse.fuse(images))
    report = api.get(f"{path}/report")
    assert report.json()["output"] == "fused.png"
    assert [row["name"] for row in report.json()["inputs"]] == state["inputs"]
    assert len(report.json()["metrics"]["values"]) == 6
    assert "anyfuse-serve-" not in report.text
    assert Image.open(io.BytesIO(api.get(f"{path}/preview?size=40").content)).size == (40, 32)
    part = Image.open(io.BytesIO(api.get(f"{path}/inputs/1?x=10&y=20&width=30&height=8").content))
    assert np.array_equal(np.asarray(part), images[1][20:28, 10:40])
    weights = [np.asarray(Image.open(io.BytesIO(api.get(f"{path}/weights/{k}").content)), int) for k in range(3)]
    assert abs(sum(weights) - 255).max() <= 3
    counts = api.get(f"{path}/histograms").json()
    assert [sum(channel) for channel in counts["result"]] == [64 * 80] * 3
    assert set(counts) == {"result", "0", "1", "2"}
    assert b"picture-1-64.png" in answer.content, "the record of the sources has the names of their owner"
    assert api.get(f"{path}/inputs/3").status_code == 404
    assert "outside" in error(api.get(f"{path}/preview?x=5000"))


def test_wait(api: TestClient, shots: Shots) -> None:
    """One request is enough."""
    answer = api.post("/v1/fuse?wait=true", files=shots(2), data={"format": "jpg", "align": "none"})
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).format == "JPEG"


def test_files_by_id(api: TestClient, shots: Shots) -> None:
    """16-bit TIFFs are seen as pictures, used twice, and removed."""
    ids = []
    for _, (name, content, kind) in shots(2, suffix=".tif"):
        sent = api.post("/v1/files", files={"file": (name, content, kind)})
        assert sent.status_code == 201
        assert (sent.json()["width"], sent.json()["height"], sent.json()["depth"]) == (80, 64, "uint16")
        ids.append(sent.json()["id"])
        shown = Image.open(io.BytesIO(api.get(f"/v1/files/{ids[-1]}/preview").content))
        assert (shown.size, shown.mode, shown.format) == ((80, 64), "RGB", "PNG")
    for options, suffix in (({}, ".tif"), ({"depth": "8", "format": "png"}, ".png")):
        job = api.post("/v1/fuse", data={"file_ids": ids, **options})
        assert job.status_code == 415, "a form without files is sent as multipart too"
        job = api.post(
            "/v1/fuse", files=[("file_ids", (None, key)) for key in ids] + [(k, (None, v)) for k, v in options.items()]
        )
        state = finished(api, job.json()["id"])
        assert state["state"] == "done", state
        assert state["file"] == f"fused{suffix}"
        report = api.get(f"/v1/jobs/{state['id']}/report").json()
        assert report["inputs"][0]["depth"] == "uint16"
    assert api.delete(f"/v1/files/{ids[0]}").status_code == 204
    assert api.get(f"/v1/files/{ids[0]}").status_code == 404
    again = api.post("/v1/fuse", files=[("file_ids", (None, key)) for key in ids])
    assert again.status_code == 404


def test_events(api: TestClient, shots: Shots) -> None:
    """Each change is one event, the last one is the end."""
    job = api.post("/v1/fuse", files=shots(2)).json()["id"]
    with api.stream("GET", f"/v1/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1]["state"] == "done"
    stages = [event["stage"] for event in events]
    order = ["", "load", "read", "align", "deghost", "fuse", "write", "measure"]
    assert stages == sorted(stages, key=order.index)  # changes that follow quickly may be told as one
    assert events[0]["state"] in ("queued", "running")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "nothing"}, "GET /v1/models"),
        ({"model": "/etc"}, "GET /v1/models"),
        ({"align": "much"}, "align 'much' is not known"),
        ({"say": "bake a cake"}, "cake"),
        ({"quality": "0"}, "1 to 100"),
        ({"quality": "good"}, "whole number"),
        ({"resize": "perhaps"}, "true or false"),
        ({"format": "doc"}, "png"),
        ({"format": "jpg", "depth": "16"}, "8 bits"),
        ({"nonsense": "1"}, "is not known"),
        ({"say": "x" * 5000}, "at most"),
    ],
)
def test_wrong_options(api: TestClient, shots: Shots, options: dict[str, str], words: str) -> None:
    answer = api.post("/v1/fuse", files=shots(2), data=options)
    assert answer.status_code == (422 if options.get("say") == "bake a cake" else 400)
    assert words in error(answer)


def test_wrong_files(api: TestClient, shots: Shots) -> None:
    """The line is that of the package, with the name that the owner gave."""
    bad = ("files", ("notes of mine.txt", b"no picture at all", "text/plain"))
    state = finished(api, api.post("/v1/fuse", files=[bad, *shots(1)]).json()["id"])
    assert state["state"] == "failed"
    assert str(state["error"]).startswith("notes of mine.txt")
    answer = api.get(f"/v1/jobs/{state['id']}/result")
    assert answer.status_code == 422
    assert error(answer) == state["error"]
    assert api.post("/v1/files", files={"file": bad[1]}).status_code == 422
    one = finished(api, api.post("/v1/fuse", files=shots(1)).json()["id"])
    assert "at least two images" in str(one["error"])
    other = finished(
        api, api.post("/v1/fuse", files=[*shots(1), *shots(1, 30, 30)], data={"align": "none"}).json()["id"]
    )
    assert "picture-0-30.png" in str(other["error"])
    assert "resize" in str(other["error"])


def test_bad_forms(api: TestClient) -> None:
    assert api.post("/v1/fuse", content=b"hello").status_code == 415
    head = {"content-type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x\r\nnonsense",
        b'--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\nabc',
    ):
        answer = api.post("/v1/fuse", content=body, headers=head)
        assert answer.status_code == 400
        error(answer)
    assert "no file" in error(api.post("/v1/fuse", files={"say": (None, "")}))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/fuse", "POST"),
        ("GET", "/v1/files", "POST"),
        ("OPTIONS", "/v1/files/abc", "DELETE, GET"),
        ("PUT", "/v1/jobs/abc", "DELETE, GET"),
    ],
)
def test_other_methods_are_named(method: str, path: str, allowed: str, api: TestClient) -> None:
    """405 with all methods of the path, also where another route has one of them."""
    answer = api.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert "not allowed" in error(answer)


def test_names_are_no_paths(api: TestClient, shots: Shots) -> None:
    """A name that climbs is a name; files of the server stay where they are."""
    (_, first), (_, second) = shots(2)
    files = [("files", ("../../../etc/passwd", first[1], "")), ("files", ("C:\\x\\..\\y\r\nz.png", second[1], ""))]
    state = finished(api, api.post("/v1/fuse", files=files).json()["id"])
    assert state["state"] == "done"
    assert state["inputs"][0] == "passwd"
    assert state["file"] == "fused.png"
    root = next(api.base.glob("anyfuse-serve-*"))  # type: ignore[attr-defined]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {p.name for p in root.rglob("*") if p.is_file()} <= {
        ".lock", "data", "report.json", "result.png", "result.jpg", "result.tif", "view.npy", "result.npy",
        *(f"{kind}-{k}.npy" for kind in ("input", "weights") for k in range(4)), *(f"in-0000{k}" for k in range(4)),
    }  # fmt: skip
    for path in (
        "/v1/jobs/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/app.py",
        "/../app.py",
        "/v1/jobs/%2e%2e",
    ):
        assert api.get(path).status_code == 404
    assert display_name(b"a" * 500).count("a") < 120
    assert display_name(b"") == "image 1"


def test_cancel(api: TestClient, shots: Shots, tmp_path: Path) -> None:
    """A job that runs is ended at once, one that waits is dropped, and the next one is done."""
    large = [("files", (f"{k}.png", png(noise(3000, 3000, k)), "")) for k in range(2)]
    first = api.post("/v1/fuse", files=large).json()["id"]
    second = api.post("/v1/fuse", files=shots(2)).json()["id"]
    third = api.post("/v1/fuse", files=shots(2)).json()["id"]
    end = time.monotonic() + 60
    while api.get(f"/v1/jobs/{first}").json()["stage"] not in ("align", "fuse") and time.monotonic() < end:
        time.sleep(0.02)
    assert api.delete(f"/v1/jobs/{second}").json()["state"] == "cancelled"
    start = time.monotonic()
    assert api.delete(f"/v1/jobs/{first}").json()["state"] == "cancelled"
    assert time.monotonic() - start < 5
    assert finished(api, third)["state"] == "done"
    assert api.get(f"/v1/jobs/{first}/result").status_code == 410
    root = next(api.base.glob("anyfuse-serve-*"))  # type: ignore[attr-defined]
    assert not (root / first).exists()
    assert not (root / second).exists()
    assert api.delete(f"/v1/jobs/{third}").status_code == 200
    assert not (root / third).exists()
    assert api.get(f"/v1/jobs/{third}").status_code == 404


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_ids_cannot_be_guessed(api: TestClient, shots: Shots) -> None:
    """128 random bits each; there is no list, and one id leads to one job."""
    one, two = (api.post("/v1/fuse", files=shots(2)).json()["id"] for _ in range(2))
    assert len(one) >= 22
    assert one[:6] != two[:6]
    for guess in (one[:-1], one + "a", one.lower() + "x", "..", "*", "%00", "0"):
        assert api.get(f"/v1/jobs/{guess}").status_code == 404
        assert api.get(f"/v1/files/{guess}/preview").status_code == 404
    assert "GET" in api.put("/v1/status").headers["allow"]
    assert api.get("/v1/jobs").status_code == 404
    assert api.get("/v1/files").status_code == 405


def test_other_sites_are_refused(api: TestClient, shots: Shots) -> None:
    """By the Host header (DNS rebinding), Origin and Sec-Fetch-Site; CORS is closed."""
    assert api.get("/v1/health", headers={"host": "evil.example"}).status_code == 421
    assert api.get("/", headers={"host": "127.0.0.1.evil.example"}).status_code == 421
    assert api.get("/v1/health", headers={"host": "192.168.1.7:8765"}).status_code == 421
    assert api.get("/v1/health", headers={"host": "localhost:8765"}).status_code == 200
    assert api.get("/v1/health", headers={"host": "[::1]:8765"}).status_code == 200
    there = {"origin": "https://evil.example"}
    assert api.post("/v1/fuse", files=shots(2), headers=there).status_code == 403
    assert api.get("/v1/models", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    answer = api.options("/v1/fuse", headers=there | {"access-control-request-method": "POST"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert host_name("a:b:c") == host_name("a/b") == host_name("") == ""


def test_headers(api: TestClient) -> None:
    for path in ("/", "/v1/health", "/nothing"):
        headers = api.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert api.get("/v1/health").headers["cache-control"] == "no-store"
    assert api.get("/docs").status_code == 404, "it would load scripts from elsewhere"


def test_page_asks_nobody_else(api: TestClient) -> None:
    text = "".join(api.get(f"/{name}").text for name in ("", "style.css", "script.js", "api.js", "viewer.js"))
    assert text.count("http://www.w3.org/2000/svg") == text.count("http"), "no other address"
    assert "style=" not in api.get("/").text


def test_token(tmp_path: Path, shots: Shots) -> None:
    with TestClient(
        create_app(Limits(), token="a-token-of-letters", base=tmp_path), base_url="http://127.0.0.1"
    ) as client:
        assert client.get("/").status_code == 200
        assert client.get("/v1/health").json()["token"] is True
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a-token-of-letters"}):
            answer = client.post("/v1/fuse", files=shots(2), headers=headers)
            assert answer.status_code == 401
            assert "token" in error(answer)
        good = {"authorization": "Bearer a-token-of-letters"}
        assert client.post("/v1/fuse?wait=true", files=shots(2), headers=good).status_code == 200


def test_limits(tmp_path: Path, shots: Shots) -> None:
    small = Limits(upload=60_000, pixels=10_000, files=2, waiting=1, store=300_000)
    with TestClient(create_app(small, base=tmp_path), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/fuse", files=shots(3))
        assert answer.status_code == 413
        assert "at most 2" in error(answer)
        large = ("files", ("large.png", bytes(70_000), ""))
        answer = client.post("/v1/fuse", files=[large])
        assert answer.status_code == 413
        assert error(answer).startswith("large.png: is larger than")
        answer = client.post("/v1/files", files={"file": shots(1, 110, 110)[0][1]})
        assert answer.status_code == 422 if len(shots(1, 110, 110)[0][1][1]) < 60_000 else 413
        states = [client.post("/v1/fuse", files=shots(2, 40, 40)) for _ in range(6)]
        codes = [one.status_code for one in states]
        assert codes[0] == 202
        refused = [one for one in states if one.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"]
        for one in states:
            if one.status_code == 202:
                finished(client, one.json()["id"])
        codes = [client.post("/v1/fuse?wait=true", files=shots(2, 60, 60)).status_code for _ in range(8)]
        assert codes[0] == 200
        assert 507 in codes, "the store is full"
        assert not list(tmp_path.glob("*/*/result.tmp"))


def test_slow_jobs_end(tmp_path: Path, shots: Shots) -> None:
    with TestClient(create_app(Limits(seconds=0.5), base=tmp_path), base_url="http://127.0.0.1") as client:
        big = [("files", (f"{k}.png", png(noise(2500, 2500, k)), "")) for k in range(2)]
        sent = client.post("/v1/fuse", files=big)
        if sent.status_code == 202:
            state = finished(client, sent.json()["id"])
            assert "longer than 0.5 s" in str(state["error"])
            assert client.get(f"/v1/jobs/{state['id']}/result").status_code == 503
        else:
            assert sent.status_code in (408, 503)


def test_cleaning(tmp_path: Path, shots: Shots) -> None:
    """What nobody looks at goes by age; with the server all goes."""
    with TestClient(create_app(Limits(age=1.0), base=tmp_path), base_url="http://127.0.0.1") as client:
        key = client.post("/v1/files", files={"file": shots(1)[0][1]}).json()["id"]
        job = client.post("/v1/fuse", files=shots(2)).json()["id"]
        finished(client, job)
        root = next(tmp_path.glob("anyfuse-serve-*"))
        assert (root / job).is_dir()
        time.sleep(2.0)
        assert client.get(f"/v1/jobs/{job}").status_code == 404
        assert client.get(f"/v1/files/{key}").status_code == 404
        assert [p.name for p in root.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())


def test_openapi(api: TestClient) -> None:
    """Every route is described, with the form's options and the errors."""
    schema = api.get("/v1/openapi.json").json()
    assert {"/v1/fuse", "/v1/jobs/{key}", "/v1/jobs/{key}/events", "/v1/jobs/{key}/result", "/v1/models"} <= set(
        schema["paths"]
    )
    form = schema["paths"]["/v1/fuse"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"files", "file_ids", "model", "say", "align", "deghost", "format", "depth"} <= set(form)
    assert form["align"]["enum"][0] == "auto"
    for path, methods in schema["paths"].items():
        for method in methods.values():
            assert "4XX" in method["responses"], path


def test_models_and_instructions(api: TestClient) -> None:
    rows = {row["name"]: row for row in api.get("/v1/models").json()}
    assert rows["anyfuse"]["weights"]
    assert "unifusion" not in rows, "it has no weights yet"
    answer = api.get("/v1/say", params={"text": "highlight the cars"}).json()
    assert "car" in answer["request"]["segment"]
    assert error(api.get("/v1/say", params={"text": "bake a cake"}))
    assert api.get("/v1/status").json()["limits"]["files"] == 4


def test_an_instruction_is_followed(api: TestClient, shots: Shots) -> None:
    job = api.post("/v1/fuse", files=shots(2), data={"model": "ditfuse", "say": "brighter"}).json()["id"]
    assert finished(api, job)["state"] == "done"
    report = api.get(f"/v1/jobs/{job}/report").json()
    assert report["understood"] == "[CONTROL] <LIGHT+>"
    alone = api.post("/v1/fuse", files=shots(2), data={"model": "average"}).json()["id"]
    state = finished(api, alone)
    assert state["state"] == "done"


def test_the_model_that_can_is_chosen(api: TestClient, shots: Shots) -> None:
    for say, model in (("brighter", "ditfuse"), ("remove the haze", "mmaif"), ("", "anyfuse")):
        job = api.post("/v1/fuse", files=shots(2), data={"say": say}).json()["id"]
        assert finished(api, job)["state"] == "done"
        assert api.get(f"/v1/jobs/{job}/report").json()["model"].startswith(model)


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--token", "short"], ["--host", "no.such.host.example"]])
def test_refused_starts(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An open address needs a token, and a token some length; the line has the remedy."""
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--port", "0", *options])
    assert caught.value.code == 2
    assert "--token" in capsys.readouterr().err
