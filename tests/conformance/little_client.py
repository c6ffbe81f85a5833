"""The smallest client that keeps the protocol on a hostile network; and, by `--sin`, one that breaks a rule of it.

    python little_client.py [--sin NAME] FILES STATE

It sends one piece at a time, whole files and parts only, and remembers its ids in STATE.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

SINS = ("forgets", "resends", "impatient", "stubborn", "trusting", "chatty", "hasty", "wanders", "strips")
PART = 8 * 1024 * 1024
FAILURES = 8  # in a row without progress
WAITING = ("requested", "receiving")
ENDS = ("ready", "duplicate", "quarantined", "unscannable", "mismatched", "failed", "cancelled", "expired")


class Client:
    def __init__(self, state: Path, sin: str) -> None:
        self.sin = sin
        self.journal = state / "journal.json"
        self.http = httpx.Client(base_url=os.environ["BUILDPEER_API"], timeout=30)
        self.s3 = httpx.Client(timeout=30, follow_redirects=sin == "wanders")
        who = {"email": os.environ["BUILDPEER_EMAIL"], "password": os.environ["BUILDPEER_PASSWORD"]}
        token = self.call("POST", "/v1/sessions", who)["access_token"]
        self.http.headers["authorization"] = f"Bearer {token}"
        if sin == "chatty":
            self.s3.headers["authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the API, repeated while it may help."""
        for failures in range(1, FAILURES + 1):
            asked_s = 0.0
            try:
                answer = self.http.request(method, path, json=body)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer.json()
                asked_s = float(answer.headers.get("retry-after", 0))
            except (httpx.HTTPError, ValueError):  # no answer, or not BuildPeer's
                pass
            self.pause(failures, asked_s)
        raise SystemExit(f"{method} {path}: no answer")

    def pause(self, failures: int, asked_s: float = 0) -> None:
        if self.sin != "hasty":
            # a phone goes up to a minute, at random
            time.sleep(max(0 if self.sin == "impatient" else asked_s, min(2, 0.3 * 2 ** (failures - 1))))

    def ids(self, paths: list[Path]) -> dict[str, str]:
        """The upload id of each file: kept on disk before anything is announced."""
        known = json.loads(self.journal.read_text()) if self.journal.exists() and self.sin != "forgets" else {}
        ids = {path.name: known.get(path.name) or str(uuid7()) for path in paths}
        spare = self.journal.with_suffix(".new")
        spare.write_text(json.dumps(ids))
        spare.replace(self.journal)
        return ids

    def send(self, folder: Path) -> bool:
        paths = sorted(folder.iterdir())
        ids = self.ids(paths)
        contents = {ids[path.name]: path.read_bytes() for path in paths}  # a phone would keep a copy of its own
        news = [declared(ids[path.name], path.name, contents[ids[path.name]]) for path in paths]
        project = os.environ["BUILDPEER_PROJECT"]
        opened = self.call("POST", f"/v1/projects/{project}/uploads", {"uploads": news})["results"]
        for result in opened:
            if result["verdict"] in ("opened", "known") and result["upload"]["state"] in WAITING:
                self.deliver(result["upload_id"], contents[result["upload_id"]])
        return all(self.end_of(upload_id) in ("ready", "duplicate") for upload_id in contents)

    def deliver(self, upload_id: str, content: bytes) -> None:
        in_parts = len(content) > PART
        pieces = [(start, content[start : start + PART]) for start in range(0, len(content), PART)]
        while pieces:
            for start, piece in pieces:
                if not self.holds(upload_id, start // PART + 1) or self.sin == "resends":
                    self.put(upload_id, start // PART + 1 if in_parts else None, piece)
            if not in_parts:
                return
            done = self.call("POST", f"/v1/uploads/{upload_id}/completion")
            lacking = missing(done)
            pieces = [(start, piece) for start, piece in pieces if start // PART + 1 in lacking]

    def holds(self, upload_id: str, part: int) -> bool:
        """Whether the server needs no bytes of this part."""
        upload = self.call("GET", f"/v1/uploads/{upload_id}")
        return upload["state"] not in WAITING or part in received(upload)

    def put(self, upload_id: str, part: int | None, piece: bytes) -> None:
        put, failures = None, 0
        while failures < FAILURES:
            if put is None:
                urls = self.call("POST", f"/v1/uploads/{upload_id}/urls", {"parts": [part]} if part else {})
                if "code" in urls:  # upload_closed: no bytes are needed
                    return
                put = urls["parts"][0]["put"] if part else urls["put"]
            asked_s = 0.0
            try:
                headers = put["headers"]
                if self.sin == "strips":
                    headers = {k: v for k, v in headers.items() if k in ("content-length", "content-type")}
                answer = self.s3.put(put["url"], content=piece, headers=headers)
            except httpx.HTTPError:
                if self.holds(upload_id, part or 1):  # only the answer was lost
                    return
            else:
                asked_s = float(answer.headers.get("retry-after", 0))
                if answer.status_code == 412 or (answer.status_code == 200 and "etag" in answer.headers):
                    return
                if answer.status_code == 200 and self.sin == "trusting":
                    return
                if b"NoSuchUpload" in answer.content:
                    return  # completion says what is missing
                if answer.status_code == 403 and self.sin != "stubborn":
                    put = None
            failures += 1
            self.pause(failures, asked_s)
        raise SystemExit("gave up")

    def end_of(self, upload_id: str) -> str:
        while (state := self.call("GET", f"/v1/uploads/{upload_id}")["state"]) not in ENDS:
            if state in WAITING and self.sin == "trusting":
                return state
            time.sleep(0.2)
        return state


def uuid7() -> UUID:
    """RFC 9562, 5.7: 48 bits of Unix milliseconds, version 7, variant 10, the rest random."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=value & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62)


def declared(upload_id: str, name: str, content: bytes) -> dict[str, Any]:
    plan = name.endswith(".pdf")
    return {
        "upload_id": upload_id,
        "kind": "plan" if plan else "photo",
        "name": name,
        "size_bytes": len(content),
        "content_type": "application/pdf" if plan else "image/jpeg",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def parts_in(ranges: list[dict[str, int]]) -> set[int]:
    """The parts that begin in these ranges."""
    return {
        start // PART + 1
        for each in ranges
        for start in range(-(-each["offset"] // PART) * PART, each["offset"] + each["length"], PART)
    }


def received(upload: dict[str, Any]) -> set[int]:
    if upload.get("received") is not None:
        return parts_in(upload["received"])
    return set((upload["parts"] or {}).get("received") or ())


def missing(answer: dict[str, Any]) -> set[int]:
    if "missing" in answer:
        return {offset // PART + 1 for each in answer["missing"] for offset in span(each)}
    return set(answer.get("missing_parts") or ())


def span(each: dict[str, int]) -> list[int]:
    return [*range(each["offset"], each["offset"] + each["length"], PART), each["offset"] + each["length"] - 1]


if __name__ == "__main__":
    *options, files, state = sys.argv[1:]
    chosen = options[1] if options else ""
    assert chosen in ("", *SINS)
    sys.exit(not Client(Path(state), chosen).send(Path(files)))
