"""Requests over connections that stay open, as many at once as ours has open calls. Raw, to take little of the peer's machine."""

import asyncio
import time

CONNECTIONS = 50


class Refused(Exception):
    """The peer did not take a message."""


class Caller(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, requests, done):
        self.requests, self.done, self.buffer = requests, done, b""

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            self.finish(None)
        else:
            self.transport.write(request)

    def data_received(self, data):
        self.buffer += data
        head, whole, body = self.buffer.partition(b"\r\n\r\n")
        if not whole or not self.complete(head.lower(), body):
            return
        if not head.split(b" ", 2)[1].startswith(b"2"):
            self.transport.close()
            self.finish(Refused(self.buffer[:300].decode("latin-1")))
            return
        self.buffer = b""
        self.next()

    @staticmethod
    def complete(head, body):
        if b"transfer-encoding: chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        return len(body) >= int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])

    def connection_lost(self, error):
        self.finish(error or Refused("the connection was closed"))

    def finish(self, error):
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


async def _send(port, requests, patience):
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(CONNECTIONS)]
    began = time.monotonic()
    async with asyncio.timeout(patience):
        for end in ends:
            await loop.create_connection(lambda end=end: Caller(requests, end), "127.0.0.1", port)
        await asyncio.gather(*ends)
    return began


def send(port, paths, patience):
    """Sends a GET for each path; gives back when it began, in monotonic seconds."""
    request = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n"
    return asyncio.run(_send(port, iter([(request % path).encode() for path in paths]), patience))
