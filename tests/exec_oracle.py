#!/usr/bin/env python3
"""smap --exec on random rows through co-processes of every temper, against a model of a few lines.

    python3 tests/exec_oracle.py [SEED [ROUNDS]]

Every round makes rows of all kinds of values and a command that answers some with themselves, some with
several rows, some with none: at once, in bursts, slowly, only at its end, in NDJSON or msgpack; it may
also die, answer too much or too little.  Rows, their order, watermarks and, of changelogs, the table that
is left must be what the model says; a failure must be one, after right rows only.  Reads $PATH for the
programs."""
import io
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
import frames

COMMAND = r'''
import json, random, sys, time
import msgpack
temper, form, seed, fault, at = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
rng, out, held = random.Random(seed), sys.stdout.buffer, []
exec(open(sys.argv[6]).read())

def rows():
    if form == "ndjson":
        yield from map(json.loads, sys.stdin.buffer)
    else:
        yield from msgpack.Unpacker(sys.stdin.buffer, read_size=1 if temper == "eager" else 4096,
                                    max_buffer_size=1 << 28)

def flush():
    out.write(b"".join(held)); out.flush(); held.clear()

for i, row in enumerate(rows()):
    if i == at and fault == "die":
        sys.exit(3)
    if i == at and fault == "half":
        out.write(b'{"id": 1'); out.flush(); sys.exit(0)
    if i == at and fault == "less":
        continue
    got = answer(row)
    if i == at and fault == "odd":
        got = 7
    text = json.dumps(got, ensure_ascii=bool(seed & 1)).encode() + b"\n" if form == "ndjson" else msgpack.packb(got)
    held.append(text)
    if i == at and fault == "more":
        held.append(text)
    if temper == "eager" or (temper in ("bursts", "slow") and rng.random() < 0.02):
        flush()
        if temper == "slow":
            time.sleep(0.0005)
flush()
'''

ANSWER = r'''
def answer(row):
    kind = (row["id"] * 2654435761 >> 5) % 8
    if kind == 0:
        return None
    if kind == 1:
        return [dict(row, n=i) for i in range(row["id"] % 4)]
    return dict(row, n=-1)
'''
exec(ANSWER)

TEXTS = ["", "x", "a b", "quo\"te", "line\nbreak", "\u00e4\u20ac\U0001f600", "back\\slash", "{}[],:", "null", "y" * 5000]


def random_rows(rng, n):
    return [[i, rng.choice([None] + TEXTS), rng.choice([None, 0.0, -1.5, 1e300, rng.random()]),
             rng.choice([None, True, False]), rng.randrange(1 << 50)] for i in range(n)]


NAMES = ["id", "s", "f", "b", "at"]
TYPES = ["int", "string", "float", "bool", "timestamp"]


def model(rows):
    out = []
    for row in rows:
        got = answer(dict(zip(NAMES, row)))
        for r in [] if got is None else got if isinstance(got, list) else [got]:
            out.append([r[k] for k in NAMES] + [r["n"]])
    return out


def run(rng, directory, fault):
    temper, form = rng.choice(["eager", "bursts", "slow", "end"]), rng.choice(["ndjson", "msgpack"])
    # More than 8 MiB aren't in flight, so who answers at its end only mustn't get more.
    rows = random_rows(rng, rng.choice([0, 1, 7, 300, 3000, 3000 if temper == "end" else 20000]))
    path = os.path.join(directory, "rows.ndjson")
    with open(path, "w") as f:
        for r in rows:
            f.write(json.dumps(dict(zip(NAMES, r))) + "\n")
    at = rng.randrange(len(rows)) if rows else 0
    what = "%s %s %d rows %s at %d" % (temper, form, len(rows), fault, at)
    command = "python3 %s/command.py %s %s %d %s %d %s/answer.py" % (
        directory, temper, form, rng.randrange(1000), fault or "none", at, directory)
    source = subprocess.run(["ssource", path, "-s", "id int, s string, f float, b bool, at timestamp(us)"],
                            stdout=subprocess.PIPE, check=True)
    got = subprocess.run(["smap", "--exec", command, "--exec-format", form, "--exec-schema", "*, n int"],
                         input=source.stdout, capture_output=True, timeout=120)
    stream = frames.read(io.BytesIO(got.stdout))
    want = model(rows)
    if fault and rows:
        assert got.returncode == 5, (what, got.returncode, got.stderr)
        assert "END" not in stream.kinds, what
        assert b"--exec" in got.stderr and got.stderr.count(b"error") == 1, (what, got.stderr)
        if fault not in ("less", "more"):   # after those an answer is taken for the next row's
            assert stream.rows == want[:len(stream.rows)], what
        return what
    assert got.returncode == 0, (what, got.returncode, got.stderr)
    assert stream.rows == want, "%s: %d rows, not %d" % (what, len(stream.rows), len(want))
    return what


CHANGES = r'''
def answer(row):
    kind = (row["s"] * 7 + row["n"]) % 5
    return None if kind == 0 else [row, dict(row, n=-row["n"])] if kind == 1 else row
'''


def run_changes(rng, directory):
    """A changelog: the table that is left is that of the rows' answers."""
    with open(os.path.join(directory, "c.csv"), "w") as f:
        f.write("k,v\n" + "".join("%d,%d\n" % (rng.randrange(9), rng.randrange(1, 100)) for _ in range(rng.randrange(2000))))
    with open(os.path.join(directory, "changes.py"), "w") as f:
        f.write(CHANGES)
    changes = subprocess.run("ssource %s/c.csv -s 'k int, v int' | swindow -k k --emit changes 'sum(v) as s, count(*) as n'" % directory,
                             shell=True, stdout=subprocess.PIPE, check=True).stdout
    form = rng.choice(["ndjson", "msgpack"])
    command = "python3 %s/command.py %s %s 1 none 0 %s/changes.py" % (
        directory, rng.choice(["eager", "bursts", "end"]), form, directory)
    got = subprocess.run(["smap", "--exec", command, "--exec-format", form], input=changes, stdout=subprocess.PIPE, check=True)
    before, after = frames.read(io.BytesIO(changes)), frames.read(io.BytesIO(got.stdout))
    scope = {}
    exec(CHANGES, scope)
    want = []
    for row in before.table():
        a = scope["answer"](dict(zip(before.names, row)))
        want += [tuple(r[k] for k in before.names) for r in (a if isinstance(a, list) else [a] if a else [])]
    assert after.table() == sorted(want, key=repr), "changes"


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    print("seed %d" % seed)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        for name, text in (("command.py", COMMAND), ("answer.py", ANSWER)):
            with open(os.path.join(directory, name), "w") as f:
                f.write(text)
        for i in range(rounds):
            run(rng, directory, None if i % 2 else rng.choice(["die", "half", "less", "more", "odd"]))
            if i % 4 == 0:
                run_changes(rng, directory)
    print("%d rounds agree" % rounds)


if __name__ == "__main__":
    main()
