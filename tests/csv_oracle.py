#!/usr/bin/env python3
"""ssource's CSV against Python's csv module on random documents.

    tests/csv_oracle.py [SSOURCE] [DOCUMENTS] [SEED]

Documents are written by a few lines here (every style of quoting, mixed newlines, byte order marks,
blank lines, no newline at the end), so that both the expected values, nulls among them, and what
Python reads are known.  Sizes straddle 64 bytes and the reads of a pipe.
"""

import csv
import io
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
import frames

PIECES = ["", "a", "b,c", '"', '""', "\n", "\r\n", "x;y", "\t", "é", "日本", "😀", "NULL", "NA", " ",
          "0", "-12", "longer text than sixty-four bytes so that a field spans several blocks of it",
          ",", ";", "'", "\\", "\x00"]


def text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 8])))


def write_field(rng, value, delimiter):
    """The field's text, and the value that is meant."""
    must = any(c in value for c in (delimiter, '"', "\n", "\r"))
    if must or rng.random() < 0.3:
        return '"' + value.replace('"', '""') + '"', value
    return value, value if value else None


def document(rng, columns, delimiter):
    newline = rng.choice(["\n", "\r\n", None])
    end = lambda: newline or rng.choice(["\n", "\r\n"])
    out = ["\ufeff" if rng.random() < 0.2 else ""]
    out.append(delimiter.join("c%d" % (i + 1) for i in range(columns)) + end())
    rows = []
    for _ in range(rng.choice([0, 1, 2, 5, 40, 400])):
        fields = [write_field(rng, text(rng), delimiter) for _ in range(columns)]
        out.append(delimiter.join(f[0] for f in fields) + end())
        rows.append([f[1] for f in fields])
        if columns > 1 and rng.random() < 0.02:
            out.append(end())
    body = "".join(out)
    if rows and rows[-1] != [None] and rng.random() < 0.4:
        body = body.removesuffix("\n").removesuffix("\r")
    return body, rows


def python_rows(body, columns, delimiter):
    reader = csv.reader(io.StringIO(body.removeprefix("\ufeff"), newline=""), delimiter=delimiter,
                        strict=True)
    return [r for r in list(reader)[1:] if columns == 1 or r]


def plain(rows):
    return [[v or "" for v in r] or [""] for r in rows]


def run_round(rng, ssource, directory, documents):
    columns, delimiter = rng.randint(1, 6), rng.choice([",", ";", "\t", "|"])
    spec = ", ".join("c%d string" % (i + 1) for i in range(columns))
    paths, expected = [], []
    for i in range(documents):
        body, rows = document(rng, columns, delimiter)
        path = os.path.join(directory, "%d.csv" % i)
        with open(path, "wb") as file:
            file.write(body.encode())
        assert plain(python_rows(body, columns, delimiter)) == plain(rows), "the oracles differ"
        paths.append(path)
        expected.extend(r + [path] for r in rows)
    run = subprocess.run([ssource, "-s", spec, "--header", "yes", "--delimiter", delimiter,
                          "--filename", "file"] + paths, capture_output=True)
    if run.returncode:
        sys.exit("ssource failed: %s" % run.stderr.decode())
    got = frames.read(io.BytesIO(run.stdout)).rows
    for a, b in zip(got, expected):
        if a != b:
            sys.exit("%s:\n  ssource  %r\n  expected %r" % (b[-1], a, b))
    if len(got) != len(expected):
        sys.exit("%d rows, expected %d" % (len(got), len(expected)))
    return len(got)


def main():
    ssource = sys.argv[1] if len(sys.argv) > 1 else "build/bin/ssource"
    documents = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    print("seed %d" % seed)
    rng, rows, per_round = random.Random(seed), 0, 100
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(0, documents, per_round):
            rows += run_round(rng, ssource, directory, per_round)
    print("%d documents, %d rows agree" % (documents, rows))


if __name__ == "__main__":
    main()
