#!/usr/bin/env python3
"""swindow against a database: the same random rows, the same question as SQL, compared as multisets.

    tests/window_oracle.py [SEED]        BIN=build/bin

DuckDB if it is installed for this Python, else sqlite3 (which every Python has); says which.  The
SQL is plain enough for both: windows are integer arithmetic on microseconds, sessions are lag and a
running sum.  Deviations, quantiles, lists and estimates are compared with DuckDB's only: floats to
12 digits, estimates within the bounds that the manual gives.  Exits 0 if all agree, 1 with the question and the first differences if not.
"""

import collections
import math
import os
import random
import struct
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


def swindow_rows(stdin, args, decode=True):
    import frames
    two = subprocess.run([os.path.join(BIN, "swindow")] + args, stdin=stdin,
                         stdout=subprocess.PIPE, check=True)
    with tempfile.TemporaryFile() as f:
        f.write(two.stdout)
        f.seek(0)
        s = frames.read(f)
    text = lambda v: v.decode() if isinstance(v, bytes) and decode else v
    return [tuple(text(v) for v in row) for row in s.rows]


def swindow(path, args, decode=True):
    source = [os.path.join(BIN, "ssource"), path, "-s", "k string, v int, t timestamp(us)", "-t", "t"]
    one = subprocess.Popen(source, stdout=subprocess.PIPE)
    rows = swindow_rows(one.stdout, args, decode)
    one.stdout.close()
    if one.wait() != 0:
        sys.exit("window_oracle: ssource failed")
    return rows


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


# What swindow is asked, what DuckDB is, and how the two are compared.
def like(got, expected):
    if got is None or expected is None or isinstance(got, (bool, str)):
        return got == expected
    return math.isclose(got, expected, rel_tol=1e-12, abs_tol=1e-9)


def unpacked(got, expected):
    import msgpack
    return (msgpack.unpackb(got) if got else None) == expected


def counted(got, expected):  # nearly exact while small, then 1.6 % standard error: five sigma
    return abs(got - expected) <= max(2, 0.085 * expected if expected > 1000 else 0)


def near(q):
    def compare(got, values):
        if not values:
            return got is None
        place = q * (len(values) - 1)
        low, part = values[math.floor(place)], place - math.floor(place)
        high = values[math.ceil(place)]
        off = (abs(low) * (1 - part) + abs(high) * part) / 128
        return abs(got - (low * (1 - part) + high * part)) <= off * 1.0001 + 1e-12
    return compare


F = "exp(v / 3.0)"


def wide_calls(rng):
    q, r = rng.choice([0, 1, 0.5]), round(rng.random(), 3)
    for f in ("stddev", "stddev_pop", "variance", "var_samp", "var_pop"):
        yield f"{f}(v)", f"{f}(v)", like
        yield f"{f}({F})", f"{f}({F})", like
    yield "median(v)", "median(v)", like
    for x in (q, r):
        yield f"quantile(v, {x})", f"quantile_cont(v, {x})", like
        yield f"quantile({F}, {x})", f"quantile_cont({F}, {x})", like
        yield f"approx_quantile({F}, {x})", f"list({F} order by v) filter (where v is not null)", \
            near(x)
        yield f"approx_quantile(v, {x})", "list(v order by v) filter (where v is not null)", near(x)
    yield "approx_count_distinct(v)", "count(distinct v)", counted
    yield "approx_count_distinct(t)", "count(distinct t)", counted
    yield "string_agg(v::string, ', ')", "string_agg(v::varchar, ', ' order by t, no)", like
    yield "string_agg(k)", "string_agg(k, ',' order by t, no)", like
    yield "array_agg(v)", "list(v order by t, no)", unpacked
    yield "array_agg(k) filter (where v > 3)", "list(k order by t, no) filter (where v > 3)", unpacked
    yield "bool_and(v > -15)", "bool_and(v > -15)", like
    yield "bool_or(v > 15)", "bool_or(v > 15)", like


def wide_shapes(rng):
    size, slide = rng.randint(1, 40) * S, rng.randint(1, 10) * S
    hop = slide * rng.randint(1, 5)
    yield "global", ["-k", "k"], 1, "select k, {} from r group by k"
    yield "tumble", ["--tumble", "%dus" % size, "-k", "k"], 3, \
        f"select k, t - t % {size} as b, t - t % {size} + {size}, {{}} from r group by k, b"
    yield "hop", ["--hop", "%dus,%dus" % (hop, slide), "-k", "k"], 3, \
        f"""select k, t - t % {slide} - i * {slide} as b, t - t % {slide} - i * {slide} + {hop}, {{}}
            from r cross join o where t - t % {slide} - i * {slide} + {hop} > t group by k, b"""
    yield "session", ["--session", "%dus" % slide, "-k", "k"], 3, \
        f"""select k, min(t), max(t) + {slide}, {{}} from (
              select k, v, t, no, sum(fresh) over (partition by k order by t rows unbounded preceding) as s
              from (select k, v, t, no, case when t - lag(t) over (partition by k order by t) <= {slide}
                    then 0 else 1 end as fresh from r) x) y group by k, s"""


def wide_agrees(name, calls, keys, rows, sql, db):
    """rows are swindow's; the first columns are the keys."""
    sql = sql.format(", ".join(c[1] for c in calls))
    expected = {row[:keys]: row[keys:] for row in db.execute(sql).fetchall()}
    got = {row[:keys]: row[keys:] for row in rows}
    wrong = ["other groups"] if got.keys() != expected.keys() or len(got) != len(rows) else [
        "%s of %s: %s, not %s" % (call[0], key, a, b) for key in got
        for call, a, b in zip(calls, got[key], expected[key]) if not call[2](a, b)]
    if wrong:
        print("window_oracle: %s differs from %s" % (name, sql))
        print("\n".join("  " + w for w in wrong[:5]))
    return not wrong


def listed(calls):
    return ", ".join("%s as c%d" % (c[0], n) for n, c in enumerate(calls))


def wide_check(rng, path, db):
    """Returns how many shapes agree, and how many there are."""
    good = asked = 0
    for name, args, keys, sql in wide_shapes(rng):
        calls = list(wide_calls(rng))
        rows = swindow(path, args + [listed(calls)], False)
        asked += 1
        good += wide_agrees(name, calls, keys, rows, sql, db)
    return good, asked


def frame_put(f, kind, body):
    import msgpack
    body = msgpack.packb(body)
    f.write(b"\xc9" + struct.pack(">IB", len(body), kind) + body)


def changelog_write(f, rng, n):
    """A random changelog with event times; returns the rows that are left."""
    left, ops = [], []
    fresh = lambda: (rng.choice("abcd"), rng.choice([None] + list(range(-20, 20))),
                     BASE + rng.randrange(500) * S)
    while len(ops) < n:
        what = rng.random()
        old = left.pop(rng.randrange(len(left))) if left and what < 0.6 else None
        if old and what < 0.35:
            ops.append(old + (3,))
            continue
        new = fresh()
        if old:
            new = (old[0],) + new[1:]
            ops.append(old + (1,))
        ops.append(new + (2 if old else 0,))
        left.append(new)
    frame_put(f, 0, ["runnel", 1, {"endian": "little", "stage": "script", "bounded": True}])
    frame_put(f, 1, [1, [["k", "string"], ["v", "int"], ["t", "timestamp"]],
                     {"changelog": True, "time": ["t", 0]}])
    for at in range(0, len(ops), 700):
        frame_put(f, 3, [1, [list(op) for op in ops[at:at + 700]]])
    frame_put(f, 6, [len(ops)])
    return left


def changelog_check(rng, n, db):
    """What is left of a changelog, as if nothing else had ever come.  Ties in time: no lists."""
    pairs = [(c, c) for c in ("count(*)", "sum(v)", "avg(v)", "min(v)", "max(v)", "count(distinct v)",
                              "sum(distinct v)", "min(k)", "max(t)")]
    pairs += [("first(t)", "min(t)"), ("last(t)", "max(t)"), ("any_value(k)", "any_value(k)"),
              ("arg_min(t, t)", "min(t)"), ("arg_max(t, t)", "max(t)"),
              ("array_agg(epoch_ms(t))", "list(t // 1000 order by t)")]
    calls = [(a, b, unpacked if "array" in a else like) for a, b in pairs]
    calls += [c for c in wide_calls(rng) if "count_distinct" not in c[0] and "_agg" not in c[0]]
    with tempfile.TemporaryFile() as f:
        left = changelog_write(f, rng, n)
        f.seek(0)
        rows = swindow_rows(f, ["-k", "k", listed(calls)], False)
    db.execute("create or replace table left_over (k varchar, v bigint, t bigint)")
    if left:
        db.executemany("insert into left_over values (?, ?, ?)", left)
    return wide_agrees("changelog", calls, 1, rows, "select k, {} from left_over group by k", db)


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
        db.execute("create table r (k varchar, v bigint, t bigint, no bigint)")
        db.execute("create table o (i bigint)")
        if rows:
            db.executemany("insert into r values (?, ?, ?, ?)",
                           [row + (i,) for i, row in enumerate(rows)])
        db.executemany("insert into o values (?)", [(i,) for i in range(9)])
        with tempfile.NamedTemporaryFile(suffix=".csv") as f:
            csv_write(f.name, rows)
            for question in questions(rng):
                asked += 1
                good += check(*question, f.name, db)
            if name.startswith("DuckDB"):
                more = wide_check(rng, f.name, db)
                good, asked = good + more[0] + changelog_check(rng, n, db), asked + more[1] + 1
    print("window_oracle: seed %d, %s: %d of %d questions agree" % (seed, name, good, asked))
    return good != asked


if __name__ == "__main__":
    sys.exit(main())
