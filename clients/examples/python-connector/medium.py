"""A toy medium: people connect over TCP (`nc 127.0.0.1 7777`), say who they are in their first line, and then talk in lines.

It stands for any real one. It knows nothing of Switchboard."""

import asyncio
import uuid
from typing import Awaitable, Callable


class Medium:
    """A chat of lines on this machine."""

    def __init__(self, said: Callable[[str, str, str], Awaitable[None]], left: Callable[[str], Awaitable[None]]) -> None:
        self.said, self.left = said, left
        self.people: dict[str, asyncio.StreamWriter] = {}

    async def serve(self, port: int) -> None:
        server = await asyncio.start_server(self.person, "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    async def person(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"who are you? ")
        name = (await reader.readline()).decode(errors="replace").strip()
        if not name or " " in name:
            writer.close()
            return
        self.people[name] = writer
        while line := await reader.readline():
            words = line.decode(errors="replace").strip()
            if words:
                # The medium's own id of the message: what makes it one and the same when it is brought twice.
                await self.said(uuid.uuid4().hex, name, words)
        if self.people.get(name) is writer:
            del self.people[name]
            await self.left(name)
        writer.close()

    async def send(self, name: str, words: str) -> bool:
        """Shows words to a person. False when the person is not there: nothing was sent then."""
        writer = self.people.get(name)
        if writer is None or writer.is_closing():
            return False
        writer.write(f"> {words}\n".encode())
        await writer.drain()
        return True
