"""A headless Chromium, driven by its DevTools protocol over a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Root may not use the sandbox; /dev/shm is small in containers.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--remote-debugging-pipe", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
WAIT_S = 120
# Width and height of the window.
DESKTOP, PHONE = (1400, 900), (390, 844)
_ERRORS = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


def browser_program() -> str | None:
    """Return a Chromium's path; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """An open page."""

    def __init__(self, process: subprocess.Popen[bytes], into: int, back: int) -> None:
        self._process, self._into, self._back = process, into, back
        self._number, self._waiting = 0, b""
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != self._number:
                self.events.append(answer)
                continue
            assert "error" not in answer, answer["error"]
            return answer["result"]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT_S
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._back], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            block = os.read(self._back, 1 << 20)
            assert block, "the browser has ended"
            self._waiting += block
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript, wait for its promise, and return the value."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window a size; the size PHONE makes it a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
            deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip

    def errors(self) -> list[dict[str, Any]]:
        """List what the console was told since the page was opened; nothing should be."""
        return [event for event in self.events if event.get("method") in _ERRORS]

    def choose(self, selector: str, file: Path) -> None:
        """Give a file to an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.05)

    def open(self, place: str) -> None:
        """Open an address, and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=place)
        self.wait(f"location.href === {json.dumps(place)} && document.readyState === 'complete'")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser of a desktop's size; tests/conftest.py makes it known to all tests."""
    if browser_program() is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        page.resize(DESKTOP)
        yield page


@contextlib.contextmanager
def open_browser(folder: Path, *options: str) -> Iterator[Page]:
    """Start a browser with a profile in ``folder``; it ends with the block."""
    program = browser_program()
    assert program is not None
    theirs, into = os.pipe()
    back, ours = os.pipe()

    def place_pipes() -> None:
        # Copies first: either end may lie where the other one must go.
        a, b = os.dup(theirs), os.dup(ours)
        os.dup2(a, 3)
        os.dup2(b, 4)

    process = subprocess.Popen(
        [program, *OPTIONS, f"--user-data-dir={folder}", *options, "about:blank"],
        preexec_fn=place_pipes, close_fds=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    page = Page(process, into, back)
    try:
        targets = page.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(into)
        os.close(back)
