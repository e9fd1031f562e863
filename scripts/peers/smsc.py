#!/usr/bin/python3
"""A message centre that speaks SMPP 3.4, as much as Kannel asks of one: the far end of the tests of Kannel.

It keeps every message as a line of JSON, long ones put together, and reports on it. The last digit of the number says what becomes
of the message: 1 undelivered (absent subscriber), 2 expired, 3 refused at once (invalid number), 4 the first try is throttled,
7 delivered and answered in Hindi, anything else delivered.
"""

import argparse
import asyncio
import itertools
import json
import signal
import struct
import time

BIND, SUBMIT, DELIVER, ENQUIRE, UNBIND = 0x09, 0x04, 0x05, 0x15, 0x06
RESPONSE = 0x80000000
INVALID_DESTINATION, THROTTLED = 0x0B, 0x58
UCS2, REPORT, LONG = 8, 0x04, 0x40


# The default alphabet and its extension (3GPP TS 23.038, section 6.2.1), one octet a character as SMPP carries it.
GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€"}


def text_of(coding: int, octets: bytes) -> str:
    if coding == UCS2:
        return octets.decode("utf-16-be")
    words, escaped = [], False
    for octet in octets:
        words.append(EXTENSION.get(octet, "?") if escaped else GSM[octet] if octet < 128 and octet != 0x1B else "")
        escaped = octet == 0x1B and not escaped
    return "".join(words)


def read_submit(body: bytes) -> dict:
    """The fields of submit_sm that matter, in their order (SMPP 3.4, section 4.4.1)."""
    at = 0

    def string():
        nonlocal at
        end = body.index(0, at)
        value, at = body[at:end].decode("latin-1"), end + 1
        return value

    def number():
        nonlocal at
        at += 1
        return body[at - 1]

    string(), number(), number()
    source = string()
    number(), number()
    destination = string()
    esm_class = number()
    number(), number(), string(), string()
    wants_report, _, coding, _, length = number(), number(), number(), number(), number()
    octets = body[at : at + length]
    part = (0, 1, 1)
    if esm_class & LONG:  # 05 00 03 reference total number
        header = octets[0] + 1
        part, octets = (octets[3], octets[4], octets[5]), octets[header:]
    return {"from": source, "to": destination, "coding": coding, "octets": octets, "part": part, "report": wants_report & 1}


class Centre:
    def __init__(self, record: str):
        self.record = record
        self.ids = itertools.count(1)
        self.sequence = itertools.count(1)
        self.parts, self.throttled = {}, set()

    async def serve(self, reader, writer):
        try:
            while True:
                length, command, _, sequence = struct.unpack(">IIII", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                await self.answer(writer, command, sequence, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, writer, command, sequence, body):
        def send(kind, status, number, content=b""):
            writer.write(struct.pack(">IIII", 16 + len(content), kind, status, number) + content)

        if command == BIND:
            send(BIND | RESPONSE, 0, sequence, b"centre\0")
        elif command in (ENQUIRE, UNBIND):
            send(command | RESPONSE, 0, sequence)
        elif command == SUBMIT:
            message = read_submit(body)
            last = message["to"][-1]
            if last == "3":
                send(SUBMIT | RESPONSE, INVALID_DESTINATION, sequence)
            elif last == "4" and message["to"] not in self.throttled:
                self.throttled.add(message["to"])
                send(SUBMIT | RESPONSE, THROTTLED, sequence)
            else:
                number = f"{next(self.ids):08x}"
                send(SUBMIT | RESPONSE, 0, sequence, number.encode() + b"\0")
                self.keep(message)
                await writer.drain()
                if message["report"]:
                    self.deliver(send, message, REPORT, 0, self.report(number, last))
                if last == "7":
                    self.deliver(send, message, 0, UCS2, "हाँ".encode("utf-16-be"))
        await writer.drain()

    def keep(self, message):
        reference, total, number = message["part"]
        key = (message["from"], message["to"], reference)
        self.parts.setdefault(key, {})[number] = message["octets"]
        if len(self.parts[key]) == total:
            octets = b"".join(part for _, part in sorted(self.parts.pop(key).items()))
            kept = {"from": message["from"], "to": message["to"], "coding": message["coding"], "parts": total}
            with open(self.record, "a", encoding="utf-8") as file:
                line = {**kept, "text": text_of(message["coding"], octets)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    @staticmethod
    def report(number, last):
        stat, err = {"1": ("UNDELIV", "027"), "2": ("EXPIRED", "000")}.get(last, ("DELIVRD", "000"))
        date = time.strftime("%y%m%d%H%M")
        words = f"id:{number} sub:001 dlvrd:001 submit date:{date} done date:{date} stat:{stat} err:{err} text:"
        return words.encode()

    def deliver(self, send, message, esm_class, coding, octets):
        """deliver_sm, from the person to us (SMPP 3.4, section 4.6.1)."""
        source, destination = message["to"].encode(), message["from"].encode()
        fixed = bytes([esm_class, 0, 0, 0, 0, 0, 0, coding, 0, len(octets)])
        body = b"\0" + bytes([1, 1]) + source + b"\0" + bytes([1, 1]) + destination + b"\0" + fixed + octets
        send(DELIVER, 0, next(self.sequence), body)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--record", required=True, help="where messages are kept")
    options = parser.parse_args()
    server = await asyncio.start_server(Centre(options.record).serve, "127.0.0.1", options.port)
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    await ended.wait()
    server.close()


asyncio.run(main())
