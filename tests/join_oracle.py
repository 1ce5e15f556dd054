#!/usr/bin/env python3
"""sjoin against DuckDB on random files: every family and kind, the same rows expected; joins by keys of
changelogs, of streams, and in little memory.

    tests/join_oracle.py [--bin build/bin] [--rounds 5] [--seed N]

Needs python3 with duckdb and msgpack.  Prints the seed; exits 1 with the first difference.
"""

import argparse
import datetime
import os
import random
import subprocess
import sys
import tempfile

try:
    import duckdb
except ImportError:
    print("no duckdb module: pip install duckdb")
    sys.exit(77)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
import frames  # noqa: E402

KINDS = ["inner", "left", "right", "full", "semi", "anti"]
EPOCH = 1700000000


def write(path, key, rng, rows, keys):
    with open(path, "w") as f:
        f.write("%s,ts,v\n" % key)
        for _ in range(rows):
            k = "" if rng.random() < 0.1 else "k%d" % rng.randrange(keys)
            f.write("%s,%s,%d\n" % (k, stamp(EPOCH + rng.randrange(600)), rng.randrange(100)))
        f.write("none,%s,%d\n" % (stamp(EPOCH), 0))


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(
        "%Y-%m-%dT%H:%M:%SZ")


def ours(bin_dir, folder, options):
    source = [os.path.join(bin_dir, "ssource"), "-t", "ts"]
    right = os.path.join(folder, "right.frames")
    with open(right, "wb") as f:
        subprocess.run(source + [os.path.join(folder, "right.csv")], stdout=f, check=True)
    left = subprocess.Popen(source + [os.path.join(folder, "left.csv")], stdout=subprocess.PIPE)
    out = subprocess.run([os.path.join(bin_dir, "sjoin")] + options + [right], stdin=left.stdout,
                         stdout=subprocess.PIPE)
    left.stdout.close()
    if left.wait() or out.returncode:
        sys.exit("sjoin %s failed" % " ".join(options))
    path = os.path.join(folder, "out.frames")
    with open(path, "wb") as f:
        f.write(out.stdout)
    return [tuple(row) for row in frames.read(open(path, "rb")).rows]


def theirs(folder, sql):
    db = duckdb.connect()
    for name, key, path in (("l", "k", "left.csv"), ("r", "b", "right.csv")):
        db.execute("create table %s as select %s, epoch_us(ts) as ts, v from read_csv('%s', "
                   "types={'%s': 'varchar', 'ts': 'timestamptz', 'v': 'bigint'})"
                   % (name, key, os.path.join(folder, path), key))
    return db.execute(sql).fetchall()


LEFT, RIGHT = "l.k, l.ts, l.v", "r.ts, r.v"


def join_sql(kind, on):
    if kind in ("semi", "anti"):
        word = "exists" if kind == "semi" else "not exists"
        return "select %s from l where %s (select 1 from r where %s)" % (LEFT, word, on)
    key = {"right": "coalesce(l.k, r.b)", "full": "coalesce(l.k, r.b)"}.get(kind, "l.k")
    # A null key on the left stays null; so does the right one's.
    return "select %s, l.ts, l.v, %s from l %s join r on %s" % (key, RIGHT, kind, on)


def window_sql(kind, size, slide, condition):
    """Both sides spread over their windows, then an equal join of key and window."""
    spread = ("select s.*, w from %%s s, lateral (select unnest(generate_series("
              "s.ts // %d * %d - %d + %d, s.ts // %d * %d, %d)) as w) where w + %d > s.ts"
              % (slide, slide, size, slide, slide, slide, slide, size))
    l, r = spread % "l", spread % "r"
    on = "l.k = r.b and l.w = r.w" + condition
    head = "with l2 as (%s), r2 as (%s) " % (l, r)
    if kind in ("semi", "anti"):
        word = "exists" if kind == "semi" else "not exists"
        return head + ("select l.k, l.ts, l.v, l.w, l.w + %d from l2 l where %s "
                       "(select 1 from r2 r where %s)" % (size, word, on))
    key = "coalesce(l.k, r.b)" if kind in ("right", "full") else "l.k"
    return head + ("select %s, l.ts, l.v, r.ts, r.v, coalesce(l.w, r.w), "
                   "coalesce(l.w, r.w) + %d from l2 l %s join r2 r on %s" % (key, size, kind, on))


def as_of_sql(kind, tolerance):
    on = "l.k = r.b and l.ts >= r.ts"
    sql = "select %s, %s from l asof %s join r on %s" % (LEFT, RIGHT, kind, on)
    if tolerance is None:
        return sql
    # A match that is too old is none.
    near = "l.ts - ra <= %d" % tolerance
    inside = ("select l.k as k, l.ts as ts, l.v as v, r.ts as ra, r.v as rv from l asof left join r "
              "on %s" % on)
    if kind == "inner":
        return "select k, ts, v, ra, rv from (%s) l where %s" % (inside, near)
    return ("select k, ts, v, case when %s then ra end, case when %s then rv end from (%s) l"
            % (near, near, inside))


def cases(rng):
    condition = ["-w", "v < right_v"] if rng.random() < 0.5 else []
    sql = " and l.v < r.v" if condition else ""
    for kind in KINDS:
        small = ["--memory", "1k"] if rng.random() < 0.5 else []
        yield (["-k", "k = b", "--kind", kind] + condition + small,
               join_sql(kind, "l.k = r.b" + sql))
        low = rng.randrange(-60, 30)
        high = low + rng.randrange(60)
        yield (["-k", "k = b", "--kind", kind, "--within", "%ds,%ds" % (low, high)] + condition,
               join_sql(kind, "l.k = r.b and r.ts between l.ts + %d and l.ts + %d"
                        % (low * 1000000, high * 1000000) + sql))
        slide = rng.choice([5, 10, 20])
        size = slide * rng.choice([1, 2, 3])
        yield (["-k", "k = b", "--kind", kind, "--hop", "%ds,%ds" % (size, slide)] + condition,
               window_sql(kind, size * 1000000, slide * 1000000, sql))
        yield (["-k", "k = b", "--kind", kind, "--tumble", "%ds" % size] + condition,
               window_sql(kind, size * 1000000, size * 1000000, sql))
    for kind in ("inner", "left"):
        yield (["-k", "k = b", "--kind", kind, "--as-of"], as_of_sql(kind, None))
        yield (["-k", "k = b", "--kind", kind, "--as-of", "--tolerance", "30s"],
               as_of_sql(kind, 30000000))


def distinct_times(path):
    """Drops rows that share key and time: which of them an as-of join of DuckDB takes is open."""
    seen, lines = set(), open(path).read().splitlines()
    kept = [lines[0]]
    for line in lines[1:]:
        if tuple(line.split(",")[:2]) not in seen:
            seen.add(tuple(line.split(",")[:2]))
            kept.append(line)
    open(path, "w").write("\n".join(kept) + "\n")


# ---- changelogs: random inserts, updates and deletes; DuckDB joins the final tables ----

def changes(rng, count, keys, first_id):
    """Rows and ops, and the table they leave."""
    rows, ops, table = [], [], []

    def fresh(number):
        key = None if rng.random() < 0.05 else rng.choice(keys)
        return (number, key, rng.randrange(100))

    for number in range(first_id, first_id + count):
        kind = rng.random() if table else 0
        at = rng.randrange(len(table)) if table else 0
        if kind < 0.6:
            table.append(fresh(number))
            rows.append(table[-1])
            ops.append(0)
        elif kind < 0.75:
            rows.append(table[at])
            ops.append(3)
            table[at] = table[-1]
            table.pop()
        else:
            old, new = table[at], fresh(table[at][0])
            if rng.random() < 0.7:
                new = (new[0], old[1], new[2])
            if old == new:
                new = (new[0], new[1], new[2] + 1)
            rows += [old, new]
            ops += [1, 2]
            table[at] = new
    return rows, ops, table


def plain(rng, count, keys, first_id):
    rows = [(n, None if rng.random() < 0.05 else rng.choice(keys), rng.randrange(100))
            for n in range(first_id, first_id + count)]
    return rows, None, rows


def final_sql(kind, on):
    if kind in ("semi", "anti"):
        word = "exists" if kind == "semi" else "not exists"
        return "select l.* from l where %s (select 1 from r where %s)" % (word, on)
    key = "coalesce(l.k, r.b)" if kind in ("right", "full") else "l.k"
    return "select l.id, %s, l.v, r.id, r.v from l %s join r on %s" % (key, kind, on)


def final_join(left, right, sql):
    db = duckdb.connect()
    for name, key, rows in (("l", "k", left), ("r", "b", right)):
        db.execute("create table %s (id bigint, %s varchar, v bigint)" % (name, key))
        if rows:
            db.executemany("insert into %s values (?, ?, ?)" % name, rows)
    return sorted(db.execute(sql).fetchall(), key=repr)


def run_changes(bin_dir, folder, rng, kind, endless):
    # One hot key: more candidates than a batch has rows.
    hot = rng.random() < 0.3
    keys = ["k%d" % n for n in range(1 if hot else rng.choice([5, 300]))]
    make_left = changes if rng.random() < 0.7 else plain
    make_right = changes if rng.random() < 0.7 else plain
    rows, ops, left = make_left(rng, rng.randrange(1, 12 if hot else 600), keys, 0)
    right_rows, right_ops, right = make_right(rng, 12000 if hot else rng.randrange(1, 600), keys,
                                              100000)
    options = ["-k", "k = b", "--kind", kind, "-q"]
    on = "l.k = r.b"
    if rng.random() < 0.5:
        options += ["-w", "v < right_v"]
        on += " and l.v < r.v"
    if not endless and rng.random() < 0.5:
        options += ["--memory", "1k"]
    for name, key, part, part_ops in (("left", "k", rows, ops), ("right", "b", right_rows, right_ops)):
        key_columns = ["id"] if part_ops and rng.random() < 0.5 else []
        with open(os.path.join(folder, name + ".frames"), "wb") as f:
            frames.write(f, ["id", key, "v"], ["int", "string", "int"], part, ops=part_ops,
                         keys=key_columns, bounded=name == "left" or not endless)
    path = os.path.join(folder, "out.frames")
    with open(os.path.join(folder, "left.frames"), "rb") as f, open(path, "wb") as out:
        status = subprocess.run([os.path.join(bin_dir, "sjoin")] + options +
                                [os.path.join(folder, "right.frames")], stdin=f, stdout=out)
    if status.returncode:
        sys.exit("sjoin %s failed" % " ".join(options))
    stream = frames.read(open(path, "rb"))
    inner = kind == "inner" and ops is None and right_ops is None
    if any(stream.changelogs.values()) != (ops is not None or (endless and not inner)):
        sys.exit("sjoin %s: a changelog, or none" % " ".join(options))
    options += ["(of changelogs%s)" % (", endless" if endless else "")]
    compare(options, stream.table(), final_join(left, right, final_sql(kind, on)))
    return len(stream.rows)


def compare(options, found, expected):
    found, expected = sorted(map(repr, found)), sorted(map(repr, expected))
    if found == expected:
        return
    print("sjoin %s: %d rows, DuckDB %d" % (" ".join(options), len(found), len(expected)))
    for row in sorted(set(found) - set(expected))[:5]:
        print("  only sjoin:  ", row)
    for row in sorted(set(expected) - set(found))[:5]:
        print("  only DuckDB: ", row)
    sys.exit(1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = p.parse_args()
    rng, rows, runs = random.Random(args.seed), 0, 0
    print("seed", args.seed)
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            keys = rng.choice([3, 40, 1000])
            write(os.path.join(folder, "left.csv"), "k", rng, rng.randrange(1, 900), keys)
            write(os.path.join(folder, "right.csv"), "b", rng, rng.randrange(1, 900), keys)
            distinct_times(os.path.join(folder, "right.csv"))
            for options, sql in cases(rng):
                found = ours(args.bin, folder, options)
                compare(options, found, theirs(folder, sql))
                rows, runs = rows + len(found), runs + 1
            for kind in KINDS:
                rows += run_changes(args.bin, folder, rng, kind, True)
                rows += run_changes(args.bin, folder, rng, kind, False)
                runs += 2
    print("%d joins, %d rows, all as DuckDB's" % (runs, rows))


main()
