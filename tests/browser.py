"""A headless Chromium that tests drive: pages are opened, asked, and pictured."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tornado.websocket import websocket_connect

from .holding import PATIENCE

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
)  # fmt: skip


class Page:
    """A page of a browser without a network, but for this machine."""

    def __init__(self, socket, loop):
        self._socket, self._loop, self._number = socket, loop, 0

    def _call(self, method, **parameters):
        return self._loop.run_until_complete(
            asyncio.wait_for(self._answer(method, parameters), PATIENCE)
        )

    async def _answer(self, method, parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(message))
        while True:
            told = json.loads(await self._socket.read_message())
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def open(self, address, width=1280, height=900):
        """Open a page in a window of this size, and wait until it is loaded."""
        self.resize(width, height)
        self._call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def resize(self, width, height):
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def run(self, script):
        """Return the value of an expression, that of a promise once it is there."""
        options = {"returnByValue": True, "awaitPromise": True}
        told = self._call("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, condition):
        """Wait until an expression is true, for a minute at most."""
        turn = "new Promise((done) => setTimeout(done, 50))"
        script = f"for (let k = 0; k < 1200 && !({condition}); k++) await {turn};"
        assert self.run(f"(async () => {{ {script} return {condition}; }})()"), condition

    def press(self, key):
        """Press a key where the page's focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            codes = {"ArrowRight": 39, "ArrowLeft": 37, "End": 35}
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key]
            )

    def picture(self, whole=False):
        """Return what is seen, or all of the page (y, x, rgb)."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        return np.asarray(Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))


@contextlib.contextmanager
def chromium(folder):
    """Start Chromium with its files in a folder; it ends with the block."""
    command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    loop = asyncio.new_event_loop()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            socket = loop.run_until_complete(asyncio.wait_for(_connected(Path(folder)), PATIENCE))
            yield Page(socket, loop)
            socket.close()
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            process.terminate()
            process.wait()
            loop.close()


async def _connected(folder):
    """Connect to the first page, once the browser tells where."""
    told = folder / "DevToolsActivePort"
    while not (told.is_file() and told.read_text().count("\n")):
        await asyncio.sleep(0.05)
    port = told.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        pages = [page for page in json.load(answer) if page["type"] == "page"]
    return await websocket_connect(pages[0]["webSocketDebuggerUrl"], max_message_size=2**28)
