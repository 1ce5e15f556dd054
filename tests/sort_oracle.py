#!/usr/bin/env python3
"""ssort against SQLite on random files: full sorts in little memory, row_number() and rank() per key.

    tests/sort_oracle.py [--bin build/bin] [--rounds 6] [--seed N]

Prints the seed; exits 1 with the first difference, 77 where sqlite3 has no window functions."""
import argparse
import csv
import io
import os
import random
import sqlite3
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = ["k", "a", "b", "c"]
SCHEMA = "id int, k string, a int, b float, c string"
EXPRESSIONS = ["a", "b", "c", "k", "a % 7", "length(c)", "b * 2", "lower(c)", "coalesce(a, 3)"]


def write(path, rng, rows):
    """Ties, nulls, long common beginnings."""
    table = []
    for i in range(rows):
        table.append((
            i, "k%d" % rng.randrange(6) if rng.random() > 0.1 else None,
            rng.choice([None, rng.randrange(-5, 5), rng.randrange(-10**12, 10**12)]),
            rng.choice([None, rng.randrange(-8, 8) / 4, rng.uniform(-1e6, 1e6)]),
            rng.choice([None, "", "x", "X", "common beginning %d" % rng.randrange(50),
                        "z" * rng.randrange(30)])))
    with open(path, "w") as f:
        f.write("id,k,a,b,c\n")
        for row in table:
            f.write(",".join("" if v is None else '"%s"' % v if isinstance(v, str) else repr(v)
                             for v in row) + "\n")
    return table


def order_of(rng):
    """The same text means the same in both: SQLite, too, takes null for the least value."""
    items = []
    for x in rng.sample(EXPRESSIONS, rng.randrange(1, 4)):
        items.append(x + rng.choice(["", " asc", " desc"]) +
                     rng.choice(["", "", " nulls first", " nulls last"]))
    return ", ".join(items)


def run(binary, path, arguments):
    command = [os.path.join(binary, "ssource"), "-s", SCHEMA, path]
    source = subprocess.Popen(command, stdout=subprocess.PIPE)
    sort = subprocess.Popen([os.path.join(binary, "ssort")] + arguments, stdin=source.stdout,
                            stdout=subprocess.PIPE)
    out = subprocess.run([os.path.join(binary, "ssink"), "-f", "csv"], stdin=sort.stdout,
                         stdout=subprocess.PIPE, check=True).stdout
    source.stdout.close()
    sort.stdout.close()
    if sort.wait() or source.wait():
        sys.exit("ssort %s failed" % arguments)
    rows = list(csv.reader(io.StringIO(out.decode())))
    numbered = len(rows[0]) == 6
    return [(int(r[0]), int(r[5])) if numbered else int(r[0]) for r in rows[1:]]


def differ(seed, what, got, wanted):
    for i, (x, y) in enumerate(zip(got, wanted)):
        if x != y:
            print("seed %d: %s: row %d is %s, not %s" % (seed, what, i, x, y))
            sys.exit(1)
    if len(got) != len(wanted):
        print("seed %d: %s: %d rows, not %d" % (seed, what, len(got), len(wanted)))
        sys.exit(1)


def check_full(binary, path, db, rng, seed):
    order = order_of(rng)
    wanted = [r[0] for r in db.execute("select id from t order by %s, id" % order)]
    for memory in ["256M", rng.choice(["1", "64k", "200k"])]:
        got = run(binary, path, ["--memory", memory, order])
        differ(seed, "ssort --memory %s '%s'" % (memory, order), got, wanted)


def check_top(binary, path, db, rng, seed):
    order, n, ties = order_of(rng), rng.choice([1, 2, 5, 100]), rng.random() < 0.4
    key = rng.choice([None, "k", "a % 3"])
    by = ("partition by %s " % key) if key else ""
    over = "%s over (%sorder by %s%s)" % ("rank()" if ties else "row_number()", by, order,
                                          "" if ties else ", id")
    wanted = db.execute(
        "select id, n from (select id, %s as n, min(id) over (%s) as first, row_number() over "
        "(%sorder by %s, id) as place from t) where n <= %d order by first, place" %
        (over, by, by, order, n)).fetchall()
    arguments = ["-n", str(n), "--number", "n"] + (["--ties"] if ties else []) + \
        (["-k", key] if key else []) + [order]
    differ(seed, "ssort %s" % arguments, run(binary, path, arguments), wanted)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default=os.environ.get("BIN", os.path.join(HERE, "../build/bin")))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    options = parser.parse_args()
    if sqlite3.sqlite_version_info < (3, 30):
        print("sqlite3 is older than nulls first")
        sys.exit(77)
    print("seed %d" % options.seed)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(options.rounds):
            path = os.path.join(directory, "t.csv")
            table = write(path, rng, rng.choice([0, 1, 50, 3000]))
            db = sqlite3.connect(":memory:")
            db.execute("create table t (id integer, k text, a integer, b real, c text)")
            db.executemany("insert into t values (?, ?, ?, ?, ?)", table)
            for _ in range(3):
                check_full(options.bin, path, db, rng, options.seed)
                check_top(options.bin, path, db, rng, options.seed)
    print("equal")


if __name__ == "__main__":
    main()
