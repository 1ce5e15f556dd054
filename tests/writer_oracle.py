#!/usr/bin/env python3
"""Random rows through `ssource | ssink`: NDJSON, JSON, msgpack and CSV against Python's json,
msgpack and csv.

    tests/writer_oracle.py [SEED]        BIN=build/bin"""
import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import msgpack

SPECIAL = ['"', "\\", "\n", "\r", "\t", "\x00", "\x01", "\x1f", "\x7f", ",", ";", "é", "日", "😀",
           "\u2028", "/", " "]


def text(r):
    n = r.choice([0, 1, 2, 7, 31, 32, 33, 63, 64, 65, 100])
    dense = r.choice([0.0, 0.03, 0.5])
    return "".join(r.choice(SPECIAL) if r.random() < dense else r.choice("abcdefghij")
                   for _ in range(n))


def any_value(r, depth=0):
    kind = r.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [any_value(r, depth + 1) for _ in range(r.randrange(4))]
    if kind == 7:
        return {text(r)[:8]: any_value(r, depth + 1) for _ in range(r.randrange(4))}
    return [None, True, False, r.randint(-2**63, 2**63 - 1), r.uniform(-1e9, 1e9), text(r)][kind]


def row(r):
    def maybe(v):
        return None if r.random() < 0.15 else v
    return {"i": maybe(r.choice([0, -1, 2**63 - 1, -2**63, r.randint(-10**6, 10**6)])),
            "f": maybe(r.choice([0.0, -0.0, 0.1, 1e300, 5e-324, 1.5e-7, r.uniform(-1e6, 1e6)])),
            "s": maybe(text(r)), "b": maybe(r.random() < 0.5), "x": maybe(any_value(r))}


def run(data, command, directory):
    p = subprocess.run(["bash", "-c", "set -o pipefail; " + command], input=data, cwd=directory,
                       capture_output=True, check=False)
    if p.returncode:
        raise SystemExit(f"{command}: {p.returncode}: {p.stderr.decode()}")
    return p.stdout


def as_csv(value, column):
    if value is None:
        return ""
    if column == "b":
        return "true" if value else "false"
    return value


def same_field(got, want, column):
    if want is None:
        return got == ""
    if column == "f":
        return float(got) == want
    if column == "x":
        return json.loads(got) == want
    return got == (str(want) if column == "i" else as_csv(want, column))


def same_rows(form, got, rows):
    if got != rows:
        bad = next(i for i in range(len(rows)) if i >= len(got) or got[i] != rows[i])
        raise SystemExit(f"{form} row {bad}: {rows[bad]!r} came as {got[bad:bad + 1]!r}")


def check(rows, directory):
    source = "ssource -f ndjson -s 'i int, f float, s string, b bool, x any' - | "
    data = "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in rows).encode()
    lines = run(data, source + "ssink", directory).decode().split("\n")[:-1]
    same_rows("ndjson", [json.loads(line) for line in lines], rows)
    same_rows("json", json.loads(run(data, source + "ssink -f json", directory)), rows)
    packed = io.BytesIO(run(data, source + "ssink -f msgpack", directory))
    same_rows("msgpack", list(msgpack.Unpacker(packed)), rows)
    out = run(data, source + "ssink -f csv --delimiter ';'", directory).decode()
    table = list(csv.reader(io.StringIO(out, newline=""), delimiter=";", strict=True))
    if table[0] != ["i", "f", "s", "b", "x"] or len(table) != len(rows) + 1:
        raise SystemExit(f"csv: header {table[0]}, {len(table)} records of {len(rows) + 1}")
    for fields, want in zip(table[1:], rows):
        for field, (column, value) in zip(fields, want.items()):
            if not same_field(field, value, column):
                raise SystemExit(f"csv {column}: {value!r} came as {field!r}")


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    os.environ["PATH"] = os.path.abspath(os.environ.get("BIN", "build/bin")) + ":" + os.environ["PATH"]
    r = random.Random(seed)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as directory:
        check([row(r) for _ in range(3000)], directory)


main()
