"""Measures the peers and ours in turn, and writes the report. Started by scripts/bench-peers, which gives it its servers.

A round measures every peer once and ours once, so that a machine that slows down slows all. A peer that cannot be had is a row that
says why; one that fails is a row with its error, and the rest goes on. Usage: measure.py [--quick] REPORT [PEER...]
"""

import collections
import contextlib
import json
import os
import pathlib
import signal
import sys

import peers
import report
from processes import Failed, Skipped, run
from world import World

ROWS = [  # peer's figure, unit, the peer in words, our figure, goal, note
    ("celery", "messages/s", "Celery worker over RabbitMQ", "sms/rate", 2, "prefork on every core, late acknowledgement, one POST a task"),
    ("graphile", "messages/s", "graphile-worker behind a row trigger", "sms/rate", None, "one INSERT of all rows, 50 jobs at once, one POST a job"),
    ("graphile-writers-8", "of no trigger", "graphile-worker's add_job in a row trigger", "capture-writers/8/ours", None, "single-row inserts of 8 clients"),
    ("graphile-writers-32", "of no trigger", "graphile-worker's add_job in a row trigger", "capture-writers/32/ours", None, "single-row inserts of 32 clients"),
    ("kannel", "messages/s", "Kannel, HTTP to SMPP, with its spool", "sms/rate", 1, "C, no database; 50 connections"),
    ("jasmin", "messages/s", "Jasmin, HTTP to SMPP", "sms/rate", 8, "RabbitMQ and Redis, messages kept by the broker; 50 connections"),
]


def ours(world):
    """One round of the shipped code: the figures of `switchboard-bench` for the same jobs."""
    found, program = {}, os.environ.get("OURS")
    if not program:
        return found
    file = world.logs / "ours.json"
    quick = ["--quick"] if world.quick else []
    cases = os.environ.get("OURS_CASES", "sms,capture-writers")
    run([program, cases, *quick, "--report", str(file)], 1800)
    for entry in json.loads(file.read_text(encoding="utf-8")):
        share = entry["name"].startswith("capture-writers")
        value = entry["ratio"] if share else entry["value"]
        if value is not None:
            found[entry["name"]] = value
    return found


def entries(figures, skipped, failed, wanted, without_ours):
    """The rows; `failed` names peers, and `ours` where it was ours."""
    for name, unit, words, our_name, goal, note in ROWS:
        peer = name.split("-")[0]
        if peer not in wanted:
            continue
        if peer in skipped:
            note = f"skipped: {skipped[peer]}"
        elif without_ours:
            note += f"; ours was not measured: {without_ours}"
        made = report.entry(f"peers/{name}", unit, figures[our_name], words, figures[name], goal, note)
        if error := failed.get(peer) or failed.get("ours"):
            made["error"] = error
        yield made


def measure(world, wanted):
    figures, skipped, failed, rounds = collections.defaultdict(list), {}, {}, world.of(3, 1)
    without_ours = "" if os.environ.get("OURS") else os.environ.get("OURS_REASON", "not asked for")
    for number in range(rounds):
        for name in wanted:
            if name in skipped or name in failed:
                continue
            # A peer runs only while it is measured: what it does in the background would be the next one's loss.
            try:
                with peers.ALL[name](world) as one_round:
                    for figure, value in one_round().items():
                        figures[figure].append(value)
            except Skipped as why:
                skipped[name] = str(why)
            except (Failed, OSError, TimeoutError, peers.load.Refused) as why:
                failed[name] = f"{type(why).__name__}: {why}"
            world.say(f"{name}: round {number + 1} of {rounds}{', skipped' * (name in skipped)}{', FAILED' * (name in failed)}")
        if not without_ours and "ours" not in failed:
            try:
                for figure, value in ours(world).items():
                    figures[figure].append(value)
                world.say(f"ours: round {number + 1} of {rounds}")
            except Failed as why:
                failed["ours"] = f"ours: {why}"
                world.say("ours: FAILED")
    return list(entries(figures, skipped, failed, wanted, without_ours)), bool(failed)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    path, wanted = pathlib.Path(arguments[0]), arguments[1:] or list(peers.ALL)
    if unknown := [name for name in wanted if name not in peers.ALL]:
        sys.exit(f"error: no peer is called {unknown[0]!r}; there are: {', '.join(peers.ALL)}")
    world = World("--quick" in sys.argv)
    with contextlib.ExitStack() as stack:
        stack.enter_context(world.far_end())
        found, bad = measure(world, wanted)
    report.write(path, found)
    print(report.table(found))
    world.say(f"the report is in {path}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
