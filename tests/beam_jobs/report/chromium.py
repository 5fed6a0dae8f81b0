"""A small client of headless Chromium over the DevTools protocol, by pipes.

No port is opened and no clock is slept on: a condition is awaited inside the page.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--hide-scrollbars", "--disable-dev-shm-usage"),
    "--remote-debugging-pipe",
)
PATIENCE_S = 120  # for an answer, on a machine that does much else

_TRAMPOLINE = (
    "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4); "
    "os.execv(a[3], a[3:])"
)
"""Puts the pipes where Chromium looks for them."""

_TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}


class Chromium:
    """A running browser; what its pages complain of is kept in `events`."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, *, session: str = "", **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._calls:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE_S)
            assert ready, f"the browser has said nothing for {PATIENCE_S} s"
            found = os.read(self._answers, 1 << 20)
            assert found, "the browser has gone"
            self._buffer += found
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _await_event(self, method: str, session: str) -> None:
        """Wait for an event, be it that it came before; it counts for one wait."""
        while True:
            for event in self.events:
                if (event["method"], event.get("sessionId")) == (method, session):
                    self.events.remove(event)
                    return
            self.events.append(self._receive())

    @contextlib.contextmanager
    def page(
        self,
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
    ) -> Iterator[Page]:
        """A page of its own, loaded; it must end without a complaint."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, session["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            # A click must not miss what is still gliding by.
            "prefers-reduced-motion": "reduce",
        }
        page.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": k, "value": v} for k, v in features.items()],
        )
        page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        page.call("Page.navigate", url=address)
        self._await_event("Page.loadEventFired", session["sessionId"])
        try:
            yield page
            assert page.complaints() == []
        finally:
            self.call("Target.closeTarget", targetId=target)


class Page:
    """A page of the browser, as a person at a keyboard and a mouse has it."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command to this page."""
        return self._browser.call(method, session=self._session, **params)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of what it promises."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true; the page must be allowed its scripts."""
        self.evaluate(
            "new Promise(done => { const look = () => "
            f"({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )

    def press(self, key: str) -> None:
        """Press and release a key: one of `_KEYS`, or a letter."""
        code = _KEYS.get(key, ord(key[0].upper()))
        text = {"Enter": "\r", "Tab": "", "ArrowDown": ""}.get(key, key)
        event = {"key": key, "windowsVirtualKeyCode": code}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **event, **down)
        self.call("Input.dispatchKeyEvent", **event, type="keyUp")

    def click(self, element_id: str) -> None:
        """Click the middle of an element."""
        x, y = self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); "
            "const r = e.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })"
            f"(document.getElementById({json.dumps(element_id)}))"
        )
        event = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **event)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **event)

    def forgive(self) -> None:
        """Forget what was complained of: it was what a test looked for."""
        self._browser.events.clear()

    def complaints(self) -> list[dict[str, Any]]:
        """Errors, refusals of the policy, and dialogs so far."""
        return [
            event
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] in _TROUBLE
        ]

    def screenshot(self, path: Path, **options: Any) -> Path:
        """Write what is seen as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", **options)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path


@contextlib.contextmanager
def running(profile: Path) -> Iterator[Chromium]:
    """A browser with a new profile, for as long as the context lasts."""
    assert CHROMIUM is not None
    commands_out, commands = os.pipe()
    answers, answers_in = os.pipe()
    # Away from 3 and 4, where the trampoline puts them.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands_out, answers_in)]
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _TRAMPOLINE, *map(str, theirs)),
            *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}"),
        ],
        pass_fds=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in (commands_out, answers_in, *theirs):
        os.close(end)
    browser = Chromium(commands, answers)
    try:
        yield browser
        with contextlib.suppress(AssertionError):  # it may go without an answer
            browser.call("Browser.close")
    finally:
        os.close(commands)
        os.close(answers)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
