#!/usr/bin/python3
"""A real SMTP server (aiosmtpd) that keeps what it gets: the last hop of the demo and of the tests.

Each mail becomes a Maildir message in FOLDER/mail and one JSON file in FOLDER/received, decoded, for those who want to look
without a MIME parser; the JSON file appears whole, and before the client is told that the mail was accepted.
FOLDER/behaviour.json, read anew at each command, tells it to misbehave:
  {"refuse": {"a@example.org": 550}, "delay_ms": 0, "drop_after_data": false}
"""

import argparse
import asyncio
import email
import email.policy
import itertools
import json
import logging
import mailbox
import os
import pathlib
import signal
import ssl
import sys
import threading
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# Enhanced status codes and words as real servers give them (RFC 5321 and RFC 3463).
REFUSALS = {
    421: "4.3.2 Service shutting down, closing channel",
    450: "4.2.1 Mailbox busy, try again later",
    451: "4.3.0 Local error in processing, try again later",
    452: "4.2.2 Insufficient system storage",
    550: "5.1.1 No such user here",
    551: "5.1.6 User not local",
    552: "5.2.2 Mailbox full",
    553: "5.1.3 Mailbox name not allowed",
    554: "5.7.1 Transaction failed, message refused",
}


class Handler:
    """Accepts, refuses by recipient, keeps."""

    def __init__(self, folder: pathlib.Path):
        self.behaviour_file = folder / "behaviour.json"
        self.received = folder / "received"
        self.received.mkdir(parents=True, exist_ok=True)
        self.maildir = mailbox.Maildir(folder / "mail", create=True)
        self.numbers = itertools.count(1 + max((int(f.stem) for f in self.received.glob("*.json")), default=0))

    def behaviour(self) -> dict:
        try:
            return json.loads(self.behaviour_file.read_text())
        except FileNotFoundError:
            return {}

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        code = self.behaviour().get("refuse", {}).get(address.lower())
        if code is not None:
            return f"{code} {REFUSALS.get(code, 'Refused')} <{address}>"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        behaviour = self.behaviour()
        number = self.keep(envelope)
        await asyncio.sleep(behaviour.get("delay_ms", 0) / 1000)
        if behaviour.get("drop_after_data"):
            server.transport.abort()  # accepted, but the sender never learns it
        return f"250 2.0.0 OK: queued as {number}"

    def keep(self, envelope) -> int:
        number = next(self.numbers)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.maildir.add(envelope.content)
        body, html = message.get_body(("plain",)), message.get_body(("html",))
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": str(message.get("subject", "")),
            "headers": [[name, str(value)] for name, value in message.items()],
            "body": (body or html).get_content() if (body or html) is not None else "",
            "html": html.get_content() if html is not None else None,
            "attachments": [part.get_filename() or "" for part in message.iter_attachments()],
        }
        unfinished = self.received / f"{number:08}.part"
        unfinished.write_text(json.dumps(mail, ensure_ascii=False))
        unfinished.rename(self.received / f"{number:08}.json")
        return number


async def serve(options) -> None:
    folder = pathlib.Path(options.folder)
    handler = Handler(folder)

    def authenticate(server, session, envelope, mechanism, data):
        good = options.user and (data.login.decode(), data.password.decode()) == (options.user, options.password)
        return AuthResult(success=bool(good), handled=good or False)

    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
    starttls = options.tls == "starttls"

    def session():
        return SMTP(
            handler,
            hostname="localhost",
            enable_SMTPUTF8=True,
            authenticator=authenticate if options.user else None,
            auth_required=bool(options.user),
            auth_require_tls=starttls,
            tls_context=context if starttls else None,
            require_starttls=starttls,
        )

    loop = asyncio.get_running_loop()
    implicit = context if options.tls == "implicit" else None
    server = await loop.create_server(session, "127.0.0.1", options.port, ssl=implicit)
    ended = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    if options.until_stdin_closes:
        # A test that is killed closes the pipe: no server outlives its test.
        threading.Thread(
            target=lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
        ).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    # Logins without TLS are what the tests ask for, on 127.0.0.1 only.
    warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
    # Refused certificates are what tests ask for too.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="where mails are kept")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one, which is printed")
    parser.add_argument("--user", help="require AUTH with this name")
    parser.add_argument("--password", default=os.environ.get("SMTP_PASSWORD", ""), help="its password; default $SMTP_PASSWORD")
    parser.add_argument("--tls", choices=["starttls", "implicit"], help="demand STARTTLS, or speak TLS from the first byte")
    parser.add_argument("--certificate", help="the server's certificate (PEM), for --tls")
    parser.add_argument("--key", help="its key (PEM)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input ends")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
