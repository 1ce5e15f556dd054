#!/usr/bin/env python3
"""PostgreSQL as a sink, against models of a few lines: random rows of every type come back as they went in, and a
random changelog leaves the table that it describes.  One seed, printed.

  URL=postgresql://... SEED=1 ROUNDS=8 tests/postgres_oracle.py [types|changes|lookups]

Rows are written and read without any of the project's own code (tests/tools/frames.py); psql says what the table
holds.  $PSQL is a command that takes -c SQL."""
import collections
import datetime
import decimal
import json
import os
import random
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "tools"))
import frames  # noqa: E402
import msgpack  # noqa: E402

BIN = os.path.abspath(os.environ.get("BIN", os.path.join(HERE, "../build/bin")))
if "URL" not in os.environ:
    print("a server's URL is asked for; bats/98-postgres-sink.bats gives one")
    sys.exit(77)
URL = os.environ["URL"]
PSQL = shlex.split(os.environ["PSQL"])
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("ROUNDS", "8"))
ENV = dict(os.environ, PATH=BIN + ":" + os.environ["PATH"])
INSERT, BEFORE, AFTER, DELETE = range(4)
EPOCH = datetime.datetime(1970, 1, 1)
DAY_US = 86400 * 10 ** 6


def psql(sql):
    return subprocess.run(PSQL + ["-c", sql], check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n")


def run(command, path):
    """A stage that reads the frames at path; its output."""
    with open(path, "rb") as stdin:
        done = subprocess.run(command, env=ENV, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit("seed %d: %s: %d: %s" % (SEED, " ".join(command), done.returncode, done.stderr.decode()))
    return done.stdout


def write(path, *arguments, **options):
    with open(path, "wb") as f:
        frames.write(f, *arguments, **options)


def text(rng):
    alphabet = "abcZ09 _-'\"\\\t\n\r,;{}%é漢𝄞\u0001\u007f"
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 2, 5, 5, 40, 300])))


def anything(rng, depth=0):
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice([True, False, None])
    if kind in (1, 2):
        return rng.choice([0, -1, 1 << 40, rng.randrange(-1000, 1000)])
    if kind == 3:
        return rng.choice([0.5, -1e300, 1e-7, rng.random()])
    if kind == 4:
        return text(rng)
    if kind in (5, 6):
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {text(rng): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


def digits(rng, precision, scale):
    n = rng.choice([0, 1, 5, 10 ** precision - 1, rng.randrange(10 ** precision), rng.randrange(10 ** rng.randrange(1, precision + 1))])
    return rng.choice([n, -n])


# A type: random values as frames have them.
def values(kind, rng):
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "int":
        return rng.choice([0, 1, -1, (1 << 63) - 1, -(1 << 63), rng.randrange(-10 ** 6, 10 ** 6)])
    if kind == "float":
        return rng.choice([0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308,
                           rng.uniform(-1e9, 1e9), 0.1])
    if kind == "date":
        return rng.choice([0, -1, 10957, -719162, 2932896, -2440588, rng.randrange(-100000, 100000)])
    if kind == "timestamp":
        return rng.choice([0, -1, 946684800000000, rng.randrange(-10 ** 16, 10 ** 16), 253402300799999999,
                           -62135596800000000])
    if kind == "duration":
        return rng.choice([0, 1, -1, DAY_US, rng.randrange(-10 ** 15, 10 ** 15), (1 << 63) - 1, -(1 << 63)])
    if kind == "string":
        return text(rng)
    if kind == "bytes":
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 7, 100])))
    if kind == "any":
        return anything(rng)
    precision, scale = map(int, kind[8:-1].split(","))
    number = digits(rng, precision, scale)
    return ("-" if number < 0 else "") + format(decimal.Decimal(abs(number)).scaleb(-scale, decimal.Context(prec=60)), "f")


def same(kind, a, b):
    if a is None or b is None:
        return a is None and b is None
    if kind == "float":
        return (a != a and b != b) or (a == b)
    if kind.startswith("decimal"):
        return int(decimal.Decimal(a).scaleb(int(kind[8:-1].split(",")[1]), decimal.Context(prec=60))) == b
    if kind == "any":
        b = msgpack.unpackb(b, raw=False, strict_map_key=False)
        return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    return a == b


def types(rng, n):
    """Every type there and back, in a table that --create made."""
    kinds = ["bool", "int", "float", "date", "timestamp", "duration", "string", "bytes", "any"]
    for _ in range(3):
        precision = rng.randrange(1, 39)
        kinds.append("decimal(%d,%d)" % (precision, rng.randrange(precision + 1)))
    kinds.append("decimal(38,%d)" % rng.choice([0, 1, 2, 3, 36, 37, 38]))
    rng.shuffle(kinds)
    names = ["c%d" % i if rng.random() < 0.7 else 'Odd "%d", é' % i for i in range(len(kinds))]
    rows = [[i] + [None if rng.random() < 0.1 else values(k, rng) for k in kinds] for i in range(rng.choice([0, 1, 9, 3000]))]
    write("in.frames", ["i"] + names, ["int"] + kinds, rows)
    table = "types_%d" % n
    psql("drop table if exists " + table)
    upsert = rng.choice([[], ["--upsert", "i"]])
    run(["ssink", "--create"] + upsert + ["%s?table=%s" % (URL, table)], "in.frames")
    with open("out.frames", "wb") as f:
        f.write(run(["ssource", "%s?query=select * from %s order by i" % (URL, table)], "/dev/null"))
    with open("out.frames", "rb") as f:
        back = frames.read(f)
    assert back.names == ["i"] + names, (back.names, names)
    assert back.types == ["int"] + kinds, (back.types, kinds)
    assert len(back.rows) == len(rows), (len(back.rows), len(rows))
    for wanted, got in zip(rows, back.rows):
        for name, kind, a, b in zip(["i"] + names, ["int"] + kinds, wanted, got):
            assert same(kind, a, b), "%s %s: %r came back as %r" % (name, kind, a, b)
    return len(rows) * len(kinds)


class Changes:
    """Rows (a, b, v) by their key a, which may be no key of the table; what is there by b is the last that came."""

    def __init__(self, rng, keyed):
        self.rng, self.keyed = rng, keyed
        self.there, self.by_b, self.rows, self.ops = {}, collections.defaultdict(list), [], []

    def put(self, op, row):
        self.rows.append(row)
        self.ops.append(op)
        if op in (INSERT, AFTER):
            self.by_b[row[1]].append(row)
        else:
            last = max(i for i, r in enumerate(self.by_b[row[1]]) if r == row)
            del self.by_b[row[1]][last]

    def row(self, a):
        return [a, "b%d" % self.rng.randrange(12), self.rng.randrange(1000)]

    def step(self):
        a = self.rng.randrange(40)
        old = self.there.get(a)
        if old is None:
            self.there[a] = self.row(a)
            self.put(INSERT, self.there[a])
        elif self.rng.random() < 0.4:
            self.put(DELETE, self.there.pop(a))
        else:
            new = self.row(a)
            if new == old:
                return
            pair = (BEFORE, AFTER) if self.rng.random() < 0.7 else (DELETE, INSERT)
            self.put(pair[0], old)
            self.put(pair[1], new)
            self.there[a] = new


def changes(rng, n):
    """By the changelog's key, by it and more, and by another column, where rows that others hid show again."""
    c = Changes(rng, True)
    for _ in range(rng.choice([1, 50, 4000])):
        c.step()
    keys, keep = rng.choice([(["a"], [0]), (["a"], None), ([], None)])
    upsert = rng.choice(["a", "a,b", "b"])
    if upsert == "b":
        wanted = [rows[-1] for rows in c.by_b.values() if rows]
    else:
        wanted = list(c.there.values())
    write("in.frames", ["a", "b", "v"], ["int", "string", "int"], c.rows, ops=c.ops, keys=keys)
    table = "changes_%d" % n
    psql("drop table if exists " + table)
    run(["ssink", "--create", "--upsert", upsert, "%s?table=%s" % (URL, table)], "in.frames")
    got = psql("select a, b, v from %s order by a, b" % table)
    want = "\n".join("%d|%s|%d" % tuple(r) for r in sorted(wanted))
    assert got == want, "upsert %s, keys %s:\n%s\nwanted\n%s" % (upsert, keys, got, want)
    return len(c.rows)


def lookups(rng, n):
    """Keys of every type that can be one: as a join with the whole table finds them."""
    kinds = ["bool", "int", "float", "date", "timestamp", "duration", "string", "bytes", "decimal(20,3)"]
    keys = rng.sample(kinds, rng.choice([1, 1, 2, 3]))
    pool = [[values(k, rng) if rng.random() > 0.05 else None for k in keys] for _ in range(rng.choice([1, 20, 300]))]
    names = ["k%d" % i for i in range(len(keys))]
    right = [[i] + rng.choice(pool) for i in range(rng.choice([0, 100, 1000]))]
    left = [[i] + rng.choice(pool) for i in range(3000)]
    write("left.frames", ["i"] + names, ["int"] + keys, left)
    write("right.frames", ["r"] + names, ["int"] + keys, right)
    table = "lookups_%d" % n
    psql("drop table if exists " + table)
    run(["ssink", "--create", "%s?table=%s" % (URL, table)], "right.frames")
    kind = rng.choice(["inner", "left", "semi", "anti"])
    common = ["sjoin", "-k", ",".join(names), "--kind", kind] + rng.choice([[], ["-w", "(i + r) % 3 <> 1"]])
    answers = []
    for how in (["right.frames"], ["--lookup-cache", rng.choice(["0", "7", "100000"]), "--lookup",
                                   "%s?table=%s" % (URL, table)]):
        with open("out.frames", "wb") as f:
            f.write(run(common + how, "left.frames"))
        with open("out.frames", "rb") as f:
            answers.append(sorted(map(repr, frames.read(f).rows)))
    assert answers[0] == answers[1], "%s by %s: %d rows, wanted %d" % (kind, keys, len(answers[1]), len(answers[0]))
    return len(answers[0])


def main():
    print("seed %d" % SEED)
    for what in sys.argv[1:] or ["types", "changes", "lookups"]:
        rng, checked = random.Random("%d %s" % (SEED, what)), 0
        for n in range(ROUNDS):
            checked += {"types": types, "changes": changes, "lookups": lookups}[what](rng, n)
        print("%s: %d rounds, %d checked" % (what, ROUNDS, checked))


main()
