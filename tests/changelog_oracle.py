#!/usr/bin/env python3
"""Whatever a changelog says at the end is what the bounded stream gives: random chains of operators over
random rows, one seed, printed.

  SEED=1 ROUNDS=60 tests/changelog_oracle.py

Each chain runs four ways: over files to their end; with --emit changes in every swindow; over files that
are followed until all has been read, then interrupted; under runnel -p 2, as a changelog.  Where the last
stage gives a changelog, it is applied.  A chain's first stage is checked against SQLite, too.
"""
import collections
import csv
import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(ROOT, "build", "bin")))
SEED = int(os.environ.get("SEED", "20261123"))
ROUNDS = int(os.environ.get("ROUNDS", "15"))
ENV = dict(os.environ, PATH=BIN + os.pathsep + os.environ["PATH"])
SCHEMA = "-s 'k int, g string, v int, at timestamp(ms)' -t at"

# A grouping of the rows, as swindow says it and as SQLite does.
FIRST = [
    ("swindow $emit -k g 'count(*) as n, sum(v) as s, max(v) as m'",
     "select g, count(*), sum(v), max(v) from l group by g"),
    ("swindow $emit -k k 'count(*) as n, sum(v) as s, min(v) as m'",
     "select k, count(*), sum(v), min(v) from l group by k"),
    ("swindow $emit -k 'k, g' 'count(distinct v) as n, sum(v) as s, count(v) as m'",
     "select k, g, count(distinct v), sum(v), count(v) from l group by k, g"),
    ("swindow $emit --tumble 100ms -k g 'count(*) as n, sum(v) as s, max(v) as m' | smap 'g, n, s, m'",
     "select g, count(*), sum(v), max(v) from l group by g, at / 100"),
    ("swindow $emit --session 20ms -k k 'count(*) as n, sum(v) as s, min(v) as m' | smap 'k, n, s, m'", None),
    ("sjoin $join -k k <($source r.csv %s) | swindow $emit -k g 'count(*) as n, sum(right_v) as s, max(v) as m'"
     % SCHEMA, "select l.g, count(*), sum(r.v), max(l.v) from l join r on l.k = r.k group by l.g"),
    ("sjoin $join --kind left -k k <($source r.csv %s) | swindow $emit -k g 'count(*) as n, sum(right_v) as s, "
     "max(v) as m'" % SCHEMA, "select l.g, count(*), sum(r.v), max(l.v) from l left join r on l.k = r.k group by l.g"),
    ("sjoin $join --kind anti -k k <($source r.csv %s) | swindow $emit -k g 'count(*) as n, sum(v) as s, max(v) as m'"
     % SCHEMA, "select g, count(*), sum(v), max(v) from l where k not in (select k from r where k is not null) or "
     "k is null group by g"),
]
# What takes a changelog of n, s, m (and keys) and goes on.
THEN = [
    "smap -w 's % 2 = 0 or s is null' '*, n * 2 as twice'",
    "swindow $emit -k n 'count(*) as c, sum(s) as s, max(m) as m, min(m) as lo' | smap 'n, c as k2, s, m, lo'",
    "swindow $emit 'count(*) as n, sum(s) as s, max(m) as m, count(distinct n) as d'",
    "smap 'n, s, m' | ssort -n 3 's desc, n, m'",  # of equal rows it doesn't matter which
    "smap 'n, s, m' | ssort -k n -n 2 's, m'",
    "sjoin $join -k n --kind left <($source r.csv %s | swindow $emit -k 'k as n' 'count(*) as rows')" % SCHEMA,
    "sjoin $join -k n --kind full <($source r.csv %s | swindow $emit -k 'k as n' 'count(*) as rows')" % SCHEMA,
    "sjoin $join -k 'n = k' --kind semi <($source r.csv %s)" % SCHEMA,
]


def make_rows(rng, n):
    t, rows = 0, []
    for _ in range(n):
        t += rng.choice([0, 1, 5, rng.randrange(60)])
        rows.append((rng.choice([None] + list(range(6))), rng.choice("abc"), rng.choice([None] + list(range(-20, 20))), t))
    return rows


def applied(text):
    counts = collections.Counter()
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    changes = header[:1] == ["op"]
    for row in rows:
        counts[tuple(row[1 if changes else 0:])] += -1 if changes and row[0] in ("-U", "-D") else 1
    for row, n in counts.items():
        assert n >= 0, "%s is taken back though it was never there" % (row,)
    return +counts, changes


def members(group, name):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                comm, _, rest = f.read().partition("(")[2].rpartition(")")
            if int(rest.split()[2]) == group and comm == name:
                found.append(int(pid))
        except (OSError, ValueError):
            pass
    return found


def has_read(pid, files):
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        if path in files:
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                return int(f.readline().split()[1]) >= os.path.getsize(path)
    return False


def run_followed(where, sources):
    """Until all sources have read their file: then an interrupt, which drains them."""
    files = {os.path.realpath(where + "/" + n) for n in ("l.csv", "r.csv")}
    p = subprocess.Popen(["bash", "chain.sh"], cwd=where, env=ENV, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while time.time() < deadline and p.poll() is None:
        try:
            pids = members(p.pid, "ssource")
            if len(pids) == sources and all(has_read(pid, files) for pid in pids):
                break
        except OSError:
            pass
        time.sleep(0.02)
    time.sleep(0.1)
    os.killpg(p.pid, signal.SIGINT)
    said = p.communicate(timeout=60)[1]
    return p.returncode, said


def run(where, mode, chain):
    emit = "" if mode == "bounded" else "--emit changes"
    source = "ssource --follow" if mode == "followed" else "ssource"
    join = "--ttl 365d" if mode == "followed" else ""
    text = (source + " l.csv " + SCHEMA + " | " + chain.replace("$emit", emit).replace("$source", source)
            .replace("$join", join) + " | ssink -f csv out.csv")
    with open(where + "/chain.sh", "w") as f:
        f.write("set -euo pipefail\n" + text + "\n")
    if os.path.exists(where + "/out.csv"):
        os.unlink(where + "/out.csv")
    if mode == "followed":
        status, said = run_followed(where, text.count("ssource"))
    else:
        command = ["runnel", "-q", "-p", "2", "--state", where + "/state", "chain.sh"] if mode == "runnel" else \
            ["bash", "chain.sh"]
        done = subprocess.run(command, cwd=where, env=ENV, capture_output=True, text=True, timeout=120)
        status, said = done.returncode, done.stderr
    assert status == 0, "%s: status %d: %s\n%s" % (mode, status, said, text)
    with open(where + "/out.csv", newline="") as f:
        return applied(f.read()) + (text,)


def main():
    rng = random.Random(SEED)
    print("seed %d" % SEED)
    changelogs = 0
    with tempfile.TemporaryDirectory() as where:
        for n in range(ROUNDS):
            tables = {name: make_rows(rng, rng.choice([0, 1, 20, 300])) for name in "lr"}
            for name, rows in tables.items():
                with open("%s/%s.csv" % (where, name), "w", newline="") as f:
                    csv.writer(f).writerows([("k", "g", "v", "at")] + rows)
            first, sql = rng.choice(FIRST)
            later = rng.sample(THEN, rng.randrange(3))
            db = sqlite3.connect(":memory:")
            for name, rows in tables.items():
                db.execute("create table %s (k, g, v, at)" % name)
                db.executemany("insert into %s values (?, ?, ?, ?)" % name, rows)
            chain = " | ".join([first] + later)
            wanted, _, text = run(where, "bounded", chain)
            if sql and not later:
                expected = collections.Counter(tuple("" if c is None else str(c) for c in row) for row in db.execute(sql))
                assert wanted == expected, "round %d: %s\nextra %s\nmissing %s" % (
                    n, text, wanted - expected, expected - wanted)
            for mode in ("changes", "followed", "runnel"):
                got, changes, text = run(where, mode, chain)
                changelogs += changes
                assert got == wanted, "round %d of seed %d, %s: %s\nextra %s\nmissing %s" % (
                    n, SEED, mode, text, list((got - wanted).items())[:3], list((wanted - got).items())[:3])
    print("%d rounds agree, %d changelogs" % (ROUNDS, changelogs))


if __name__ == "__main__":
    sys.exit(main())
