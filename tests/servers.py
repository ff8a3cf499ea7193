"""Servers on this machine: one of S3, one of files, and a line between that breaks."""

import http.server
import logging
import re
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

BUCKET = "bucket"
SECRET = "a-key-that-nobody-may-see"


@contextmanager
def s3_server() -> Iterator[str]:
    """Start a server of S3 with an empty bucket, and yield its endpoint."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
    try:
        yield endpoint
    finally:
        server.stop()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Serves files and parts of them, and lists no folder."""

    def log_message(self, *told: object) -> None:
        """Stay silent."""

    def list_directory(self, path: str) -> None:
        """Answer as if there were nothing."""
        self.send_error(404)

    def do_GET(self) -> None:
        """Send a file, or the part that is asked for."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        file = Path(self.translate_path(self.path))
        if asked is None or not file.is_file():
            super().do_GET()
            return
        content = file.read_bytes()
        first, last = asked.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Last-Modified", self.date_time_string(file.stat().st_mtime))
        self.end_headers()
        self.wfile.write(content[start:stop])


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP, and yield the address."""
    serve = partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Line:
    """A line to a server that breaks where `breaks` tells: of a request, after how many bytes.

    Attributes
    ----------
    breaks
        Takes the first line of a request; returns the bytes of the answer that pass, or None for
        all.
    broken
        How many answers were cut.
    """

    def __init__(self, endpoint: str) -> None:
        self.breaks: Callable[[str], int | None] = lambda _request: None
        self.broken = 0
        self._port = int(endpoint.rpartition(":")[2])
        self._ear = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._ear.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more calls."""
        self._ear.close()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._ear.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=[caller], daemon=True).start()

    def _pass(self, caller: socket.socket) -> None:
        """Pass one request, and its answer as far as it may go, and hang up."""
        with caller, socket.create_connection(("127.0.0.1", self._port)) as server:
            request = caller.recv(2**16)
            if not request:
                return
            most = self.breaks(request.partition(b"\r\n")[0].decode())
            server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            passed = 0
            while (most is None or passed < most) and (
                part := server.recv(2**16 if most is None else min(2**16, most - passed))
            ):
                caller.sendall(part)
                passed += len(part)
            if most is not None:
                self.broken += 1
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
