#!/usr/bin/env python3
"""swindow against a database: the same random rows, the same question as SQL, compared as multisets.

    tests/window_oracle.py [SEED]        BIN=build/bin

DuckDB if it is installed for this Python, else sqlite3 (which every Python has); says which.  The
SQL is plain enough for both: windows are integer arithmetic on microseconds, sessions are lag and a
running sum.  Exits 0 if all agree, 1 with the question and the first differences if not.
"""

import collections
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
BIN = os.environ.get("BIN", os.path.join(ROOT, "build", "bin"))
S = 1000000
BASE = 1704067200 * S
AGGREGATES = "count(*) as n, sum(v) as s, min(v) as lo, max(v) as hi, count(distinct v) as d"
SQL = "count(*), sum(v), min(v), max(v), count(distinct v)"


def connect():
    try:
        import duckdb
        return "DuckDB " + duckdb.__version__, duckdb.connect()
    except ImportError:
        import sqlite3
        print("window_oracle: no duckdb module, so sqlite3 is the oracle", file=sys.stderr)
        return "SQLite " + sqlite3.sqlite_version, sqlite3.connect(":memory:")


def rows_make(rng, n):
    span = rng.choice([50, 500, 5000]) * S
    keys = [None, "", "a", "b", "long key with spaces"] + ["k%d" % i for i in range(rng.choice([0, 30]))]
    return [(rng.choice(keys), rng.choice([None] + list(range(-20, 20))),
             BASE + rng.randrange(span)) for _ in range(n)]


def csv_write(path, rows):
    with open(path, "w") as f:
        f.write("k,v,t\n")
        for k, v, t in rows:
            key = "" if k is None else '"%s"' % k
            f.write("%s,%s,%d\n" % (key, "" if v is None else v, t))


def swindow(path, args):
    import frames
    source = [os.path.join(BIN, "ssource"), path, "-s", "k string, v int, t timestamp(us)", "-t", "t"]
    one = subprocess.Popen(source, stdout=subprocess.PIPE)
    two = subprocess.run([os.path.join(BIN, "swindow")] + args, stdin=one.stdout,
                         stdout=subprocess.PIPE, check=True)
    one.stdout.close()
    if one.wait() != 0:
        sys.exit("window_oracle: ssource failed")
    with tempfile.TemporaryFile() as f:
        f.write(two.stdout)
        f.seek(0)
        s = frames.read(f)
    text = lambda v: v.decode() if isinstance(v, bytes) else v
    return [tuple(text(v) for v in row) for row in s.rows]


def questions(rng):
    size, slide = rng.randint(1, 40) * S, rng.randint(1, 10) * S
    hop = slide * rng.randint(1, 7) + rng.choice([0, slide // 2])
    yield "global", ["-k", "k", AGGREGATES], f"select k, {SQL} from r group by k"
    yield "no key", [AGGREGATES], f"select {SQL} from r"
    yield "where and filter", ["-k", "k", "-w", "v > -5", "count(*) filter (where v > 3) as n"], \
        "select k, sum(case when v > 3 then 1 else 0 end) from r where v > -5 group by k"
    yield "tumble %ds" % (size // S), ["--tumble", "%dus" % size, "-k", "k", AGGREGATES], \
        f"select k, t - t % {size} as b, t - t % {size} + {size}, {SQL} from r group by k, b"
    yield "hop %d,%d" % (hop, slide), ["--hop", "%dus,%dus" % (hop, slide), "-k", "k", AGGREGATES], \
        f"""select k, t - t % {slide} - i * {slide} as b, t - t % {slide} - i * {slide} + {hop}, {SQL}
            from r cross join o where t - t % {slide} - i * {slide} + {hop} > t group by k, b"""
    yield "cumulate", ["--cumulate", "%dus,%dus" % (slide * 5, slide), "-k", "k", AGGREGATES], \
        f"""select k, t - t % {slide * 5} as b, t - t % {slide * 5} + (i + 1) * {slide} as e, {SQL}
            from r cross join o where i < 5 and t < t - t % {slide * 5} + (i + 1) * {slide}
            group by k, b, e"""
    yield "session", ["--session", "%dus" % slide, "-k", "k", AGGREGATES], \
        f"""select k, min(t), max(t) + {slide}, {SQL} from (
              select k, v, t, sum(fresh) over (partition by k order by t rows unbounded preceding) as s
              from (select k, v, t, case when t - lag(t) over (partition by k order by t) <= {slide}
                    then 0 else 1 end as fresh from r) x) y group by k, s"""


def check(name, args, sql, path, db):
    expected = collections.Counter(tuple(row) for row in db.execute(sql).fetchall())
    got = collections.Counter(swindow(path, args))
    if got == expected:
        return True
    print("window_oracle: %s differs: swindow %s\n%s" % (name, " ".join(args), sql))
    for what, rows in (("only swindow", got - expected), ("only the database", expected - got)):
        for row in list(rows)[:3]:
            print("  %s: %s" % (what, row))
    return False


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    rng = random.Random(seed)
    name, db = connect()
    good = asked = 0
    for n in (0, 1, 300, 5000):
        rows = rows_make(rng, n)
        db.execute("drop table if exists r")
        db.execute("drop table if exists o")
        db.execute("create table r (k varchar, v bigint, t bigint)")
        db.execute("create table o (i bigint)")
        if rows:
            db.executemany("insert into r values (?, ?, ?)", rows)
        db.executemany("insert into o values (?)", [(i,) for i in range(9)])
        with tempfile.NamedTemporaryFile(suffix=".csv") as f:
            csv_write(f.name, rows)
            for question in questions(rng):
                asked += 1
                good += check(*question, f.name, db)
    print("window_oracle: seed %d, %s: %d of %d questions agree" % (seed, name, good, asked))
    return good != asked


if __name__ == "__main__":
    sys.exit(main())
