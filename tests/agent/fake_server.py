"""A program in the place of vLLM: answers `/health` and `/v1` on a Unix socket, has a child, and can be killed.

Run as `python fake_server.py SOCKET FOLDER`: it writes its pid and its child's into FOLDER. While FOLDER holds a file
`slow`, it writes one sentence and then nothing more. Of the standard library alone, so that it is up at once on a
machine that has much else to do.
"""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[2])
SAID = "The evidence does not settle whether it was generated."
MODEL = {"id": "exposit@abc", "object": "model", "created": 0, "owned_by": "test", "parent": "vlm-1"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": [MODEL]} if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["max_tokens"] == 1:  # the trial of whether it takes pictures
            self._send({"error": {"message": "no pictures"}}, 400)
            return
        if (FOLDER / "slow").exists() and "[verdict] label" not in asked["messages"][-1]["content"]:
            time.sleep(60)
        if asked.get("stream"):
            part = {"index": 0, "finish_reason": None, "delta": {"content": json.dumps({"text": SAID})}}
            body = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [part]}
            self._reply(f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")
            return
        message = {"role": "assistant", "content": json.dumps({"text": SAID})}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._send({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    def _send(self, body: dict[str, Any], status: int = 200) -> None:
        self._reply(json.dumps(body).encode(), "application/json", status)

    def _reply(self, data: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *told: Any) -> None:
        """Nothing."""


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    (FOLDER / "pids").write_text(f"{os.getpid()} {child.pid}")
    Server(sys.argv[1], Handler).serve_forever()
