"""The report: entries in the shape of `target/bench/report.json` (bench/src/report.rs), and a table of them."""

import json
import statistics


def rounded(value):
    return None if value is None else round(value, 4)


def entry(name, unit, ours, baseline, theirs, goal, note):
    """Ours against a peer, round by round; either list may be empty. `goal` is a least ratio, or none."""
    middle = lambda values: rounded(statistics.median(values)) if values else None
    span = lambda values: [rounded(min(values)), rounded(max(values))] if values else None
    ratios = [a / b for a, b in zip(ours, theirs) if b]
    if theirs:
        note += f"; the peer's rounds: {figure(min(theirs))} to {figure(max(theirs))}"
    return {
        "name": name,
        "unit": unit,
        "value": middle(ours),
        "baseline": baseline,
        "baseline_value": middle(theirs),
        "ratio": middle(ratios),
        "goal": f">= {goal}x" if goal else None,
        "met": statistics.median(ratios) >= goal if goal and ratios else None,
        "rounds": max(len(ours), len(theirs)),
        "note": note,
        "spread": span(ours),
        "ratio_spread": span(ratios),
    }


def figure(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(entries):
    rows = [("what", "ours (spread)", "unit", "peer", "ratio (spread)", "goal", "met")]
    for e in entries:
        span = lambda name: f" ({figure(e[name][0])}..{figure(e[name][1])})" if e[name] and e[name][0] < e[name][1] else ""
        met = {True: "yes", False: "NO", None: ""}[e["met"]]
        peer = f"{figure(e['baseline_value'])} {e['baseline']}".strip()
        ours, ratio = figure(e["value"]) + span("spread"), figure(e["ratio"]) + span("ratio_spread")
        rows.append((e["name"], ours, e["unit"], peer, ratio, e["goal"] or "", "FAILED" if e.get("error") else met))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    remarks = [f"{e['name']} failed: {e['error']}" for e in entries if e.get("error")]
    remarks += [f"{e['name']}: {e['note']}" for e in entries if e["note"].startswith("skipped")]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *remarks])


def write(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
