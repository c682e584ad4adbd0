"""`benchmarks/serving.md` from one run's numbers; the profile's summary is kept by hand in `profile.md`."""

from pathlib import Path
from typing import Any

PROFILE = Path(__file__).with_name("profile.md")


def write(found: dict[str, Any], path: Path) -> str:
    """Write the page and return it."""
    loads, log, paced, two = found["loads"], found["log"], found["log"]["paced"], found["two"]
    shares = found["of_echo"]
    echo, ours, naive = loads["echo"], loads["predictor"], loads["naive"][8]
    lines = [
        "# What an answer costs", "",
        "Written by `make benchmark-serving`. One core for the server, wrk and PostgreSQL (over TCP) on the other;",
        "two forests of 50 trees; validation, metrics, request ids and the prediction log are on.",
        "Ratios hold elsewhere, absolute figures do not. Echo, FastAPI and predictor take turns, whose order turns",
        "around every time: medians, and the middle half of the shares within a turn.", "",
        "| connections | echo req/s | predictor req/s | of echo | echo p99 ms | p50 ms | p99 ms | p99 / echo's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for count, load in ours.items():
        bare, (low, share, high), (_, tail, _) = echo[count], shares[count]["rps"], shares[count]["p99"]
        lines.append(
            f"| {count} | {bare['rps']:,.0f} | {load['rps']:,.0f} | {share:.0%} ({low:.0%} to {high:.0%}) |"
            f" {bare['p99']:.1f} | {load['p50']:.2f} | {load['p99']:.1f} | {tail:.1f} |"
        )
    lines += ["", "| rows per request | req/s | rows/s | p50 ms | p99 ms |", "| --- | --- | --- | --- | --- |"]
    for rows, load in found["batches"].items():
        rate = load["rps"]
        lines.append(f"| {rows} | {rate:,.0f} | {rate * int(rows):,.0f} | {load['p50']:.1f} | {load['p99']:.1f} |")
    lines += [
        "", "553 rows are every hour that may be asked, the largest request there is.", "",
        "| database | req/s | p50 ms | p99 ms | at half of that: req/s | p50 ms | p99 ms | p99 / up's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(f"| {state} | {load['rps']:,.0f} | {load['p50']:.2f} | {load['p99']:.1f} |"
          f" {paced[state]['rps']:,.0f} | {paced[state]['p50']:.2f} | {paced[state]['p99']:.1f} |"
          f" {log['to_up'][state][1]:.2f} ({log['to_up'][state][0]:.2f} to {log['to_up'][state][2]:.2f}) |"
          for state, load in log["closed"].items()),
        "", "Medians of turns of up, slow and away in one process, and the middle half of the shares within a turn;",
        "the left half asks as fast as the answers come, the right half at a rate that does not depend on them."
        f" {log['kept']['answers']:,} answers, {log['kept']['written']:,.0f} rows in the database afterwards.",
        "", f"Into PostgreSQL: {log['insert']['rows_per_second']:,} rows/s through the log,"
        f" {log['insert']['cpu_us_per_row']} µs of the predictor's processor per row."
        " \"Slow\" holds every answer of the database back by 500 ms.", "",
    ]
    if "soak" in found:
        soak = found["soak"]
        lines += [
            f"Soak of {soak['seconds']:g} s at {soak['rps']:,.0f} requests/s, {soak['rps'] / soak['capacity']:.0%} of"
            f" capacity: {soak['answers']:,} answers, {soak['refused']:,} of them refused, {soak['broken']} broken; p99"
            f" {soak['p99']:.1f} ms; resident memory {soak['resident_mb_before']} to {soak['resident_mb_after']} MB.",
            f"Of {soak['compared']} logged answers none is further than {soak['relative_difference']:.0e} (relative)"
            " from the scikit-learn forests'.", "",
        ]
    times, share, tail = ours[8]["rps"] / naive["rps"], shares[8]["rps"][1], shares[8]["p99"][1]
    slowest = max(log["to_up"][state][1] for state in ("slow", "away"))
    promises = (
        ("At least 45 % of the echo (8 connections)", share >= 0.45, f"{share:.0%}"),
        ("p99 at most 3 × the echo's (8 connections)", tail <= 3, f"{tail:.1f} ×"),
        ("At least 20 × FastAPI + scikit-learn + pandas with the same forests", times >= 20,
         f"{times:.0f} × ({naive['rps']:.0f} req/s)"),
        ("Two processes on two cores at least 1.8 ×, load generators included", two["two"] / two["one"] >= 1.8,
         f"{two['two'] / two['one']:.2f} ×"),
        ("At most 300 MB resident", found["resident_mb"] <= 300, f"{found['resident_mb']} MB"),
        ("Ready within 5 s", found["ready_seconds"] <= 5, f"{found['ready_seconds']} s"),
        ("p99 with the database slow or away within 10 %, same load", slowest <= 1.1, f"{slowest:.2f} ×"),
    )
    lines += ["| promise | measured | holds |", "| --- | --- | --- |",
              *(f"| {what} | {value} | {'yes' if holds else '**no**'} |" for what, holds, value in promises),
              "", PROFILE.read_text().strip(), ""]
    text = "\n".join(lines)
    path.write_text(text)
    return text
