"""A small KFP API server over real HTTP: the calls we make, with the ways it fails on purpose."""

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Trouble = str
"""`503`, `401`, `html` (a login page with status 200), `drop` (the answer is lost after the work is done)."""


class KfpServer:
    """State of the fake; `trouble` lists what the next requests run into."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.trouble: list[tuple[str, Trouble]] = []
        self.requests: list[str] = []
        self.url = ""
        self._count = 0

    def end(self, run_key: str, *, succeeded: bool) -> None:
        """Let a run end."""
        for run in self.runs.values():
            if run["display_name"] == run_key:
                run["state"] = "SUCCEEDED" if succeeded else "FAILED"

    def new_id(self) -> str:
        self._count += 1
        return f"00000000-0000-0000-0000-{self._count:012d}"

    def stamp(self) -> str:
        return f"2026-01-01T00:{self._count // 60:02d}:{self._count % 60:02d}Z"


def _matching(items: dict[str, dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    found = sorted(items.values(), key=lambda item: item["created_at"], reverse=True)
    for predicate in json.loads(query.get("filter", ["{}"])[0] or "{}").get("predicates", []):
        assert predicate["operation"] == "EQUALS"
        found = [item for item in found if item[predicate["key"]] == predicate["stringValue"]]
    if "experiment_id" in query:
        found = [item for item in found if item["experiment_id"] == query["experiment_id"][0]]
    return found


def _page(name: str, found: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    size, start = int(query.get("page_size", ["100"])[0] or 100), int(query.get("page_token", ["0"])[0] or 0)
    more = {"next_page_token": str(start + size)} if len(found) > start + size else {}
    return {name: found[start: start + size], **more}


def _handler(state: KfpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *arguments: Any) -> None:
            return

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def _serve(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(parts.query)
            state.requests.append(f"{method} {parts.path}")
            trouble = ""
            if state.trouble and state.trouble[0][0] in (method, "*"):
                trouble = state.trouble.pop(0)[1]
            if trouble in ("503", "401"):
                return self._answer(int(trouble), {"message": "no", "code": 1})
            if trouble == "html":
                return self._raw(200, b"<html>Please log in</html>", "text/html")
            status, answer = self._work(method, parts.path.removeprefix("/apis/v2beta1/"), query, body)
            if trouble == "drop":
                self.connection.close()
                return None
            return self._answer(status, answer)

        def _work(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
            steps = path.split("/")
            if path.startswith("pipelines/upload"):
                return 200, self._upload(path, query)
            if steps[0] == "pipelines" and len(steps) == 3 and method == "GET":
                found = [item for item in _matching(state.versions, query) if item["pipeline_id"] == steps[1]]
                return 200, _page("pipeline_versions", found, query)
            kinds = {
                "runs": (state.runs, "run_id"), "experiments": (state.experiments, "experiment_id"),
                "pipelines": (state.pipelines, "pipeline_id"), "recurringruns": (state.recurring, "recurring_run_id"),
            }
            items, id_name = kinds[steps[0]]
            if method == "POST":
                item = {**json.loads(body), id_name: state.new_id(), "created_at": state.stamp()}
                if steps[0] == "runs":
                    item["state"] = "RUNNING"
                items[item[id_name]] = item
                return 200, item
            if len(steps) == 2:
                if steps[1] not in items:
                    return 404, {"message": "not found", "code": 5}
                return 200, items.pop(steps[1]) if method == "DELETE" else items[steps[1]]
            name = {"recurringruns": "recurringRuns"}.get(steps[0], steps[0])
            return 200, _page(name, _matching(items, query), query)

        def _upload(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
            name = query["name"][0]
            if path == "pipelines/upload":
                item = {"pipeline_id": state.new_id(), "display_name": name, "name": name, "created_at": state.stamp()}
                state.pipelines[item["pipeline_id"]] = item
                self._version(item["pipeline_id"], name)  # the first upload is a version, too
                return item
            return self._version(query["pipelineid"][0], name)

        def _version(self, pipeline_id: str, name: str) -> dict[str, Any]:
            item = {
                "pipeline_version_id": state.new_id(), "pipeline_id": pipeline_id, "display_name": name,
                "name": name, "created_at": state.stamp(),
            }
            state.versions[item["pipeline_version_id"]] = item
            return item

        def _answer(self, status: int, answer: Any) -> None:
            self._raw(status, json.dumps(answer).encode(), "application/json")

        def _raw(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def serve_kfp(host: str = "127.0.0.1", port: int = 0) -> Iterator[KfpServer]:
    """Run the fake, by default on a free port."""
    state = KfpServer()
    server = ThreadingHTTPServer((host, port), _handler(state))
    state.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
