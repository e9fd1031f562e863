"""What every peer is given: servers, sizes, a far end that counts, and where its programs are."""

import contextlib
import http.client
import json
import os
import pathlib
import sys
import time

from processes import Failed, free_port, listens, program, wait

HERE = pathlib.Path(__file__).resolve().parent


class World:
    def __init__(self, quick):
        self.quick = quick
        self.installed = pathlib.Path(os.environ["PEERS_INSTALLED"])
        self.logs = pathlib.Path(os.environ["PEERS_LOGS"])
        self.began = time.monotonic()
        self.http_port, self.smpp_port = free_port(), free_port()
        self.sink = f"http://127.0.0.1:{self.http_port}/send"

    def of(self, full, quick):
        return quick if self.quick else full

    def say(self, words):
        print(f"[{time.monotonic() - self.began:>4.0f} s] {words}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def far_end(self):
        command = [sys.executable, str(HERE / "far_end.py"), str(self.http_port), str(self.smpp_port)]
        with program(self.logs / "far-end.log", command):
            wait("the far end", 20, lambda: listens(self.http_port) and listens(self.smpp_port))
            yield

    def counts(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        try:
            connection.request("GET", "/count")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def rate(self, kind, count, send, patience=300):
        """Messages a second from what `send` says is the beginning to the last arrival at the far end."""
        before = self.counts()[kind]
        began = send()
        wait(f"the arrival of {count} messages", patience, lambda: self.counts()[kind] >= before + count)
        time.sleep(0.2)  # one that came twice would come now
        after = self.counts()
        if after[kind] != before + count:
            raise Failed(f"{after[kind] - before} messages came instead of {count}")
        return count / (after["last"] - began)
