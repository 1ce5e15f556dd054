#!/usr/bin/env python3
"""swindow --over against SQLite's window functions: random rows, random frames, one seed, printed.

  SEED=1 ROUNDS=100 tests/over_oracle.py

Each question is asked of a file read to its end, and of one with watermarks on the way.
"""
import csv
import datetime
import os
import random
import sqlite3
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(ROOT, "build", "bin")))
SEED = int(os.environ.get("SEED", "20261123"))
ROUNDS = int(os.environ.get("ROUNDS", "25"))
if sqlite3.sqlite_version_info < (3, 28):
    print("SQLite %s has no frames" % sqlite3.sqlite_version)
    sys.exit(77)

# ours, SQLite's; {} is the window
CALLS = [
    ("count(*)", "count(*) over {}"), ("count(v)", "count(v) over {}"), ("sum(v)", "sum(v) over {}"),
    ("min(v)", "min(v) over {}"), ("max(v)", "max(v) over {}"), ("avg(v)", "avg(v) over {}"),
    ("max(s)", "max(s) over {}"), ("sum(f)", "sum(f) over {}"),
    ("count(*) filter (where v > 0)", "count(*) filter (where v > 0) over {}"),
    ("sum(v) - count(*)", "sum(v) over {0} - count(*) over {0}"),
    ("first(i)", "first_value(i) over {}"), ("last(i)", "last_value(i) over {}"),
]
# As long as their frames
LISTS = [("string_agg(s, ',')", "group_concat(s, ',') over {}")]
ORDERS = [
    ("row_number()", "row_number() over {}"), ("lag(v)", "lag(v) over {}"), ("lag(v, 3)", "lag(v, 3) over {}"),
    ("lag(s, 2, 'none')", "lag(s, 2, 'none') over {}"), ("v - lag(v)", "v - lag(v) over {}"),
]
RANKS = [("rank()", "rank() over ({} order by t)"), ("dense_rank()", "dense_rank() over ({} order by t)")]
LEADS = [("lead(v)", "lead(v) over {}"), ("lead(s, 2, 'none')", "lead(s, 2, 'none') over {}")]


def make_rows(rng):
    span = rng.choice([5, 50, 2000])
    keys = rng.choice([1, 3, 40])
    rows, t = [], 0
    for i in range(rng.choice([1, 7, 300, 9000])):
        t += rng.choice([0, 0, 1, rng.randrange(span)])
        rows.append([i, t, "k%d" % rng.randrange(keys), rng.choice([None, rng.randrange(-50, 50)]),
                     rng.choice(["a", "bb", "ccc", None]), rng.randrange(1000) / 8])
    return rows


def make_windows(rng, rows):
    """Options of a window, and (i, start, end) for every row and window that it is in."""
    step = rng.choice([3, 10, 70, 1000])
    offset = rng.randrange(step) if rng.random() < 0.3 else 0
    options = ["--offset", "%dms" % offset] if offset else []
    kind = rng.choice(["tumble", "hop", "cumulate"])
    parts = rng.choice([1, 2, 5]) if kind != "tumble" else 1
    size = parts * step
    if kind == "tumble":
        options += ["--tumble", "%dms" % size]
    else:
        options += ["--" + kind, "%dms,%dms" % (size, step)]
    found = []
    for i, t in ((row[0], row[1]) for row in rows):
        pane = (t - offset) // step
        if kind == "cumulate":
            start = (t - offset) // size * size
            found += [(i, start + offset, end + offset) for end in range(pane * step + step, start + size + 1, step)]
        else:
            found += [(i, n * step + offset, n * step + size + offset) for n in range(pane - parts + 1, pane + 1)]
    return options, found


def question(rng, rows):
    """Options, our list, SQLite's query, whether each row of its answer has a window in front."""
    key = rng.random() < 0.8
    kind = rng.choice(["all", "rows", "time", "group", "window"])
    window_options, windows = make_windows(rng, rows) if kind == "window" else ([], [])
    parts = (["k"] if key else []) + (["ws", "we"] if windows else [])
    part = "partition by " + ", ".join(parts) if parts else ""
    exclude = kind != "all" and rng.random() < 0.3 or rng.random() < 0.1
    n = rng.choice([1, 2, 3, 10, 100])
    over, frame, order = {
        "all": ("all", "rows between unbounded preceding and current row", "order by t, i"),
        "rows": (str(n), "rows between %d preceding and current row" % (n - 1), "order by t, i"),
        "time": ("%dms" % n, "range between %d preceding and current row" % n, "order by t"),
        "window": ("group", "rows between unbounded preceding and unbounded following", "order by t, i"),
        "group": ("group", "rows between unbounded preceding and unbounded following", "order by t, i"),
    }[kind]
    frame = "(%s %s %s%s)" % (part, order, frame, " exclude current row" if exclude else "")
    plain = "(%s order by t, i)" % part
    asked = [(a, b.format(frame)) for a, b in rng.sample(CALLS, rng.randrange(1, 5))]
    if len(rows) <= 300 and rng.random() < 0.5:
        asked += [(a, b.format(frame)) for a, b in LISTS]
    asked += [(a, b.format(plain)) for a, b in rng.sample(ORDERS, rng.randrange(3))]
    asked += [(a, b.format(part)) for a, b in rng.sample(RANKS, rng.randrange(2))]
    asked += [(a, b.format(plain)) for a, b in rng.sample(LEADS, rng.choice([0, 0, 1]))]
    options = ["--over", over] + window_options + (["--exclude-current"] if exclude else []) + (["-k", "k"] if key else [])
    where = rng.random() < 0.3
    if where:
        options += ["-w", "v is null or v % 3 <> 0"]
    ours = ", ".join("%s as c%d" % (a, i) for i, (a, _) in enumerate(asked))
    theirs = "select i, %s%s from x%s %s order by %st, i" % (
        "ws, we, " if windows else "", ", ".join(b for _, b in asked), " join w using (i)" if windows else "",
        "where v is null or v % 3 <> 0" if where else "", "we, " if windows else "")
    return options, ours, theirs, windows


def moment(ms):
    at = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return at + (".%03dZ" % (ms % 1000) if ms % 1000 else "Z")


def cell(v):
    if v is None or v == "":
        return ""
    return "%.9g" % v if isinstance(v, float) else str(v)


def number(text):
    try:
        return "%.9g" % float(text) if "." in text or "e" in text else text
    except ValueError:
        return text


def main():
    rng = random.Random(SEED)
    print("seed %d" % SEED)
    env = dict(os.environ, PATH=BIN + os.pathsep + os.environ["PATH"])
    with tempfile.TemporaryDirectory() as where:
        path = where + "/x.csv"
        for n in range(ROUNDS):
            rows = make_rows(rng)
            db = sqlite3.connect(":memory:")
            db.execute("create table x (i, t, k, v, s, f)")
            db.executemany("insert into x values (?, ?, ?, ?, ?, ?)", rows)
            disorder = rng.choice([0, 0, 40])
            file_rows = sorted(rows, key=lambda r: (r[1] + rng.randrange(disorder + 1), r[0])) if disorder else rows
            with open(path, "w", newline="") as f:
                out = csv.writer(f)
                out.writerow(["i", "t", "k", "v", "s", "f"])
                # Ties in time go by arrival: the file's order among equal times is that of i.
                out.writerows(sorted(file_rows, key=lambda r: r[1]) if not disorder else file_rows)
            if disorder and len({r[1] for r in rows}) < len(rows):
                continue
            options, ours, theirs, windows = question(rng, rows)
            db.execute("create table w (i, ws, we)")
            db.execute("create index wi on w (i)")
            db.executemany("insert into w values (?, ?, ?)", windows)
            expected = [[cell(c) for c in row] for row in db.execute(theirs)]
            if windows:
                expected = [[row[0], moment(int(row[1])), moment(int(row[2]))] + row[3:] for row in expected]
            for delay in ([], ["-d", "%dms" % (disorder + 1)]):
                source = ["ssource", path, "-s", "i int, t timestamp(ms), k string, v int, s string, f float", "-t", "t"]
                command = " ".join("'%s'" % w.replace("'", "'\\''") for w in source + delay) + " | " + \
                    " ".join("'%s'" % w.replace("'", "'\\''") for w in ["swindow"] + options + [ours]) + " | ssink -f csv"
                done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=env, capture_output=True, text=True)
                got = list(csv.reader(done.stdout.splitlines()))[1:]
                got = [[row[0]] + [number(c) for c in row[6:]] for row in got]
                if done.returncode or got != expected:
                    for g, w in zip(got, expected):
                        if g != w:
                            print("got %s\nnot %s" % (g, w))
                            break
                    raise SystemExit("round %d of seed %d: %s\n%s\n%d rows, %d expected: %s"
                                     % (n, SEED, command, theirs, len(got), len(expected), done.stderr))
    print("%d rounds agree" % ROUNDS)


if __name__ == "__main__":
    main()
