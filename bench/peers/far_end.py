"""The far end of every peer: an HTTP gateway and an SMPP message centre that answer at once and count.

As little as can be, so that a peer is measured and not this. `GET /count` says how many requests and messages came, and when the last
one did (monotonic seconds, the same clock in all processes of a machine). Usage: far_end.py HTTP_PORT SMPP_PORT
"""

import asyncio
import itertools
import json
import signal
import struct
import sys
import time

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 24\r\n\r\n0: Accepted for delivery"
HEAD = struct.Struct(">IIII")
BINDS, SUBMIT, ENQUIRE, UNBIND, RESPONSE = (1, 2, 9), 4, 0x15, 6, 0x80000000


class Counts:
    http = smpp = 0
    last = 0.0

    @classmethod
    def answer(cls):
        body = json.dumps({"http": cls.http, "smpp": cls.smpp, "last": cls.last}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, bytearray()

    def data_received(self, data):
        self.buffer += data
        answers = []
        while answer := self.take():
            answers.append(answer)
        if answers:
            self.transport.write(b"".join(answers))


class Http(Connection):
    def take(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.buffer[:end]).lower()
        _, found, length = head.partition(b"content-length:")
        whole = end + 4 + (int(length.split(b"\r\n", 1)[0]) if found else 0)
        if len(self.buffer) < whole:
            return None
        del self.buffer[:whole]
        if head.startswith(b"get /count"):
            return Counts.answer()
        Counts.http += 1
        Counts.last = time.monotonic()
        return ANSWER


class Smpp(Connection):
    ids = itertools.count(1)

    def take(self):
        if len(self.buffer) < HEAD.size:
            return None
        length, command, _, sequence = HEAD.unpack_from(self.buffer)
        if len(self.buffer) < length:
            return None
        del self.buffer[:length]
        if command == SUBMIT:
            Counts.smpp += 1
            Counts.last = time.monotonic()
            return self.response(command, sequence, b"%08x\0" % next(self.ids))
        if command in BINDS:
            return self.response(command, sequence, b"centre\0")
        if command in (ENQUIRE, UNBIND):
            return self.response(command, sequence)
        return self.response(0, sequence) if command < RESPONSE else b""  # generic_nack

    @staticmethod
    def response(command, sequence, body=b""):
        return HEAD.pack(HEAD.size + len(body), command | RESPONSE, 0, sequence) + body


async def main():
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for protocol, port in ((Http, sys.argv[1]), (Smpp, sys.argv[2])):
        await loop.create_server(protocol, "127.0.0.1", int(port))
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    await ended.wait()


asyncio.run(main())
