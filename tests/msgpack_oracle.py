#!/usr/bin/env python3
"""ssource -f msgpack against Python's own msgpack: random records, one seed, printed.

Values are written by msgpack and compared as ssink's NDJSON gives them back, in whole windows and in
small pieces through a pipe.
"""
import base64
import datetime
import json
import os
import random
import subprocess
import sys

try:
    import msgpack
except ImportError:
    print("no msgpack for Python")
    sys.exit(77)

SEED = int(os.environ.get("SEED", "20261123"))
ROUNDS = 40
rng = random.Random(SEED)


def text():
    return "".join(rng.choice("ab z\"\\\n\tüß😀,") for _ in range(rng.randrange(8)))


def nested(depth=0):
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.randrange(-(2**40), 2**40)
    if kind == 3:
        return rng.randrange(-1000, 1000) / 8
    if kind == 4:
        return text()
    if kind == 5:
        return [nested(depth + 1) for _ in range(rng.randrange(4))]
    return {text(): nested(depth + 1) for _ in range(rng.randrange(4))}


def moment():
    us = rng.randrange(-(2**50), 2**50)
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=us)


def iso(t):
    fraction = ""
    if t.microsecond:
        fraction = ".%03d" % (t.microsecond // 1000) if t.microsecond % 1000 == 0 else ".%06d" % t.microsecond
    return t.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + "Z"


# name, type, a random value, what ssink shows of it
COLUMNS = [
    ("i", "int", lambda: rng.randrange(-(2**63), 2**63), lambda v: v),
    ("small", "int", lambda: rng.randrange(-200, 70000), lambda v: v),
    ("whole", "int", lambda: float(rng.randrange(-1000, 1000)), int),
    ("f", "float", lambda: rng.choice([rng.random() * 1e6, float(rng.randrange(100)), 0.5]), lambda v: v),
    ("b", "bool", lambda: rng.random() < 0.5, lambda v: v),
    ("s", "string", text, lambda v: v),
    ("t", "timestamp", moment, iso),
    ("ms", "timestamp(ms)", lambda: rng.randrange(0, 2**40),
     lambda v: iso(datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=v))),
    ("d", "date", lambda: (datetime.date(2000, 1, 1) + datetime.timedelta(days=rng.randrange(9000))).isoformat(),
     lambda v: v),
    ("money", "decimal(12,2)", lambda: "%d.%02d" % (rng.randrange(10**6), rng.randrange(100)), float),
    ("y", "bytes", lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(6))),
     lambda v: base64.b64encode(v).decode()),
    ("x", "any", nested, lambda v: v),
]


def rows_of(command, data, piece):
    p = subprocess.Popen("set -o pipefail; %s | ssink -f ndjson" % command, shell=True, executable="/bin/bash",
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = p.communicate(data) if piece is None else feed(p, data, piece)
    if p.returncode:
        raise SystemExit("seed %d: %s\n%s" % (SEED, command, err.decode()))
    return [json.loads(line) for line in out.splitlines()]


def feed(p, data, piece):
    for at in range(0, len(data), piece):
        p.stdin.write(data[at:at + piece])
        p.stdin.flush()
    return p.communicate()


def main():
    print("seed %d" % SEED)
    for n in range(ROUNDS):
        columns = rng.sample(COLUMNS, rng.randrange(1, len(COLUMNS)))
        nest = rng.random() < 0.3
        records, expected = [], []
        for _ in range(rng.randrange(1, 400)):
            record, row = {}, {}
            for name, _, make, show in columns:
                row[name] = None
                if rng.random() < 0.15:
                    if rng.random() < 0.5:
                        record[name] = None
                    continue
                value = make()
                record[name] = value
                row[name] = show(value)
            if rng.random() < 0.3:
                record["unasked"] = nested()
            items = list(record.items())
            if rng.random() < 0.3:
                rng.shuffle(items)
            record = dict(items)
            records.append({"in": record, "k": 1} if nest else record)
            expected.append(row)
        data = b"".join(msgpack.packb(r, datetime=True, use_bin_type=True) for r in records)
        names = ", ".join("%s%s %s as %s" % ("in." if nest else "", name, type_, name)
                          for name, type_, _, _ in columns)
        got = rows_of("ssource -f msgpack -s '%s' -" % names, data, None if rng.random() < 0.7 else 4096)
        if got != expected:
            for g, w in zip(got, expected):
                if g != w:
                    print("got %r\nnot %r" % (g, w))
                    break
            raise SystemExit("round %d of seed %d: %d rows, %d expected" % (n, SEED, len(got), len(expected)))
    print("%d rounds agree" % ROUNDS)


if __name__ == "__main__":
    main()
