"""Makes the fixtures of server/tests/fixtures: what the providers' own libraries sign, accept, read and send.

Nothing here states what is right. Each verdict is what twilio's RequestValidator or pywa's validator says of that very request,
each reading is what pywa reads, each request is what the library put on the wire.
"""

import json
import pathlib
import sys

import meta
import twilio_sms_and_voice as twilio

FILES = {
    "meta/signatures.json": meta.signatures,
    "meta/webhooks.json": meta.webhooks,
    "meta/requests.json": meta.requests,
    "twilio/signatures.json": twilio.signatures,
    "twilio/requests.json": twilio.requests,
    "twilio/scripts.json": twilio.scripts,
}


def main() -> int:
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    stale = []
    for name, make in FILES.items():
        text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
        path = folder / name
        if command == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"{name}: written", file=sys.stderr)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"{name}: the libraries now say something else; scripts/peers/fixtures write, and look at the difference", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
