"""A headless Chromium that opens a page and tells what it shows, asks for and complains about."""

import json
import shutil
import subprocess
import time
from contextlib import contextmanager

import websocket

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""A Chromium, if the machine has one."""


class Page:
    """A page under Chromium's DevTools protocol."""

    def __init__(self, address):
        # Chromium refuses connections that name an origin which it does not know.
        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=60)
        self._count, self._session = 0, None
        self.requests, self.errors = [], []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url):
        """Open an address and wait until the page is loaded."""
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, expression):
        """Return the value of a JavaScript expression."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression, seconds=30):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.1)

    def wait_for_frame(self, text, seconds=30):
        """Wait until a frame of the page shows a text."""
        end = time.monotonic() + seconds
        while text not in (shown := self.text_of_frames()):
            assert time.monotonic() < end, f"{text!r} in no frame: {shown[:200]!r}"
            time.sleep(0.1)

    def text_of_frames(self):
        """Return the text of the page's frames, whatever their origin."""
        root = self._call("DOM.getDocument", depth=-1, pierce=True)["root"]
        return "".join(_texts(root, inside=False))

    def _call(self, method, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer["method"], answer["params"])

    def _note(self, event, told):
        if event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.errors.append(str([value.get("value") for value in told["args"]]))
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])


def _texts(node, inside):
    if inside and node["nodeType"] == 3:
        yield node["nodeValue"]
    for child in node.get("children", ()):
        if child["nodeName"] not in ("SCRIPT", "STYLE"):
            yield from _texts(child, inside)
    if "contentDocument" in node:
        yield from _texts(node["contentDocument"], True)


@contextmanager
def browser(folder):
    """Yield an empty page of a Chromium that keeps its files in a folder."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    # It may reach nothing but this machine, as offline.
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run"]
    process = subprocess.Popen(
        [PROGRAM, *options, f"--user-data-dir={folder}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = iter(process.stderr.readline, "")
        address = next(line.split()[-1] for line in lines if "DevTools listening" in line)
        yield Page(address)
    finally:
        process.kill()
        process.communicate()
