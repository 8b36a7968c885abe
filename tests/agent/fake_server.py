"""A program in the place of vLLM: answers `/health` and `/v1` on a Unix socket, has a child, and dies when told to.

Run as `python fake_server.py SOCKET FOLDER`: it writes its pid and its child's into FOLDER. POST /die ends it hard.
While FOLDER holds a file `slow`, it streams one sentence and then nothing more.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

FOLDER = Path(sys.argv[2])
LINE = {"text": "The evidence does not settle whether it was generated.", "cites": ["verdict"], "role": "answer"}
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {}


@app.post("/die")
async def die() -> None:
    os._exit(7)


@app.get("/v1/models")
async def models() -> dict[str, Any]:
    listed = {"id": "exposit@abc", "object": "model", "created": 0, "owned_by": "test", "parent": "vlm-1"}
    return {"object": "list", "data": [listed]}


@app.post("/v1/chat/completions")
async def complete(request: Request) -> Any:
    asked = await request.json()
    if asked.get("stream"):
        return StreamingResponse(_pieces(), media_type="text/event-stream")
    if asked["max_tokens"] == 1:  # the trial of whether it takes pictures
        return JSONResponse({"error": {"message": "no pictures"}}, 400)
    return JSONResponse({}, 500)


async def _pieces() -> AsyncIterator[str]:
    text = json.dumps({"sentences": [LINE, LINE]})
    slow = (FOLDER / "slow").exists()
    for piece in (text[: text.index("}") + 1], text[text.index("}") + 1 :]):
        choice = {"index": 0, "finish_reason": None, "delta": {"content": piece}}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
        yield f"data: {json.dumps(chunk)}\n\n"
        if slow:
            await asyncio.sleep(60)
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    (FOLDER / "pids").write_text(f"{os.getpid()} {child.pid}")
    uvicorn.run(app, uds=sys.argv[1], log_level="critical")
