#!/usr/bin/env python3
"""smerge and stee on random tables, in a shell and under runnel, against sqlite3.

    python3 tests/merge_oracle.py [SEED [ROUNDS]]

Every round writes two to five tables with the same columns in random orders, some with ints where
others have floats; merges them, tees the union into a filter, a count and the rest, and compares
every output with what a union of the tables in SQLite gives.  Reads $PATH for the programs."""

import csv
import os
import random
import sqlite3
import subprocess
import sys
import tempfile

COLUMNS = ["id", "k", "v", "w"]


def write_tables(rng, directory):
    """Files in a directory, and all rows in the order of COLUMNS."""
    rows, names = [], []
    floats = set(rng.sample(range(5), rng.randrange(6)))
    for t in range(rng.randrange(2, 6)):
        order = rng.sample(COLUMNS, len(COLUMNS))
        name = "t%d.csv" % t
        names.append(name)
        with open(os.path.join(directory, name), "w", newline="") as f:
            out = csv.writer(f, lineterminator="\n")
            out.writerow(order)
            for n in range(rng.choice([1, 3, 40, 9000])):
                w = rng.randrange(-1000, 1000)
                row = {"id": len(rows), "k": rng.choice("abcde"), "v": rng.randrange(1000),
                       "w": w + 0.5 if t in floats else w}
                rows.append([row[c] for c in COLUMNS])
                out.writerow([row[c] for c in order])
    return names, rows


def read(path):
    with open(path, newline="") as f:
        rows = list(csv.reader(f))
    return sorted(tuple(float(v) if v.lstrip("-").replace(".", "", 1).isdigit() else v for v in r)
                  for r in rows[1:])


def wanted(db, query):
    return sorted(tuple(float(v) if isinstance(v, (int, float)) else v for v in r)
                  for r in db.execute(query))


def pipeline(rng, names):
    sources = ["<(ssource %s)" % n if rng.random() < .5 else n for n in names]
    if rng.random() < .5:
        merged = "ssource %s | smerge %s" % (names[0], " ".join(sources[1:]))
    else:
        merged = "smerge " + " ".join(sources)
    return ("%s | stee \"smap -w 'v >= $least' 'id, w' | ssink dear.csv\" "
            "'swindow -k k \"count(*) as n, sum(v) as s\" | ssink counts.csv' "
            "'stee \"smap id | ssink ids.csv\" | smap \"k, v\" | ssink pairs.csv' | "
            "smap 'id, k, v, w' | ssink all.csv\n" % merged)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    rng = random.Random(seed)
    print("seed %d" % seed)
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as place:
            names, rows = write_tables(rng, place)
            least = rng.randrange(1000)
            db = sqlite3.connect(":memory:")
            db.execute("create table t (id, k, v, w)")
            db.executemany("insert into t values (?, ?, ?, ?)", rows)
            queries = {"dear": "select id, w from t where v >= %d" % least,
                       "counts": "select k, count(*), sum(v) from t group by k",
                       "ids": "select id from t", "pairs": "select k, v from t",
                       "all": "select id, k, v, w from t"}
            with open(os.path.join(place, "p.sh"), "w") as f:
                f.write("set -euo pipefail\nleast=%d\n%s" % (least, pipeline(rng, names)))
            runs = [["bash", "p.sh"], ["runnel", "-q", "--state", "s", "p.sh"],
                    ["runnel", "-q", "-p", str(rng.choice([2, 3])), "--state", "s", "p.sh"]]
            for command in runs:
                done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                if done.returncode or done.stdout:
                    sys.exit("round %d: %s gives %d: %s" % (number, command, done.returncode,
                                                            done.stdout.decode()))
                for name, query in queries.items():
                    path = os.path.join(place, name + ".csv")
                    if read(path) != wanted(db, query):
                        sys.exit("round %d: %s: %s differs" % (number, command, name))
                    os.unlink(path)
    print("%d rounds, the same" % rounds)


main()
