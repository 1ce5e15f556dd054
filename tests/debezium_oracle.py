#!/usr/bin/env python3
"""Change events of Debezium, random and with malformed ones between, beside Python's json.

    python3 tests/debezium_oracle.py [SEED [ROUNDS]]

An event is {"before", "after", "op"}, with or without an envelope ("schema", "payload"), its keys in any
order, with others between, and tombstones (null).  c and r are an insert, u a pair, d a delete; what lacks
the row it needs, has another op or is no object is malformed, by its line.  Rows that came in go out as
events again, which must say the same.  Reads $PATH for the programs."""
import json
import random
import subprocess
import sys
import tempfile

WORDS = ["", "a", "zwölf", '"', "\\", "\n", "日本", "null", "x" * 200]
BAD = ['{"op":"x","before":null,"after":{"id":1}}', '{"before":null,"after":null,"op":"c"}', "[1]", "7",
       '{"before":null,"after":{"id":1},"op":"u"}', '{"before":null,"after":{"id":1},"op":"d"}', '{"op":"c"}',
       '{"before":null,"after":{"id":"q"},"op":"c"}', '{"before":null,"after":[1],"op":"c"}',
       '{"before":null,"after":{"id":1},"op":"c"', "{", '{"before":null,"after":{"id":1}}']


def row(rng):
    return {"id": rng.choice([None, 0, -5, 2**63 - 1, rng.randint(0, 99)]), "s": rng.choice(WORDS + [None]),
            "x": rng.choice([None, 0.5, 1e300, -3.0])}


def shuffled(rng, o):
    items = list(o.items())
    rng.shuffle(items)
    return dict(items)


def event(rng):
    """Its text, and the rows that it is."""
    op = rng.choice("crud")
    before, after = row(rng), row(rng)
    o = {"before": before if op in "ud" else None, "after": after if op in "cru" else None, "op": op}
    rows = ([("-U", before), ("+U", after)] if op == "u" else [("-D", before)] if op == "d" else [("+I", after)])
    for side in ("before", "after"):
        if o[side]:
            o[side] = shuffled(rng, o[side])
            if rng.random() < 0.2:
                o[side]["other"] = {"a": [1, {"op": "d"}]}
    if rng.random() < 0.5:
        o["source"] = {"db": "d", "after": {"id": 3}, "lsn": rng.getrandbits(40)}
    if rng.random() < 0.3:
        o["ts_ms"] = 1700000000000
    if rng.random() < 0.1 and op != "u":
        del o["before" if o["before"] is None else "after"]
    o = shuffled(rng, o)
    if rng.random() < 0.3:
        o = shuffled(rng, {"schema": {"type": "struct", "fields": []}, "payload": o})
    return json.dumps(o, ensure_ascii=rng.random() < 0.5), rows


def run(command, text):
    p = subprocess.run(command, shell=True, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 0, "%s: status %d\n%s" % (command, p.returncode, p.stderr.decode())
    return [json.loads(line) for line in p.stdout.splitlines()]


def one(rng, bad_path):
    lines, rows, bad = [], [], []
    for _ in range(rng.choice([1, 20, 2000])):
        kind = rng.random()
        if kind < 0.05:
            lines.append("null")
        elif kind < 0.1:
            lines.append(rng.choice(BAD))
            bad.append(len(lines))
        else:
            text, got = event(rng)
            lines.append(text)
            rows += got
    source = "ssource -f debezium-json -s 'id int, s string, x float' --bad %s -" % bad_path
    wanted = [dict(op=op, **r) for op, r in rows]
    text = "\n".join(lines) + "\n"
    assert run(source + " | ssink -f ndjson", text) == wanted, "rows"
    with open(bad_path) as f:
        assert [json.loads(line)["line"] for line in f] == bad, "malformed lines"
    events, want = run(source + " | ssink -f debezium-json", text), []
    for i, (op, r) in enumerate(rows):
        if op == "+U":
            want.append({"before": rows[i - 1][1], "after": r, "op": "u"})
        elif op != "-U":
            want.append({"before": r if op == "-D" else None, "after": r if op == "+I" else None,
                         "op": "d" if op == "-D" else "c"})
    assert events == want, "events"


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    print("seed %d" % seed)
    with tempfile.TemporaryDirectory() as directory:
        for i in range(rounds):
            try:
                one(random.Random(seed * 1000 + i), directory + "/bad")
            except AssertionError as e:
                print("seed %d, round %d: %s" % (seed, i, e), file=sys.stderr)
                return 1
    print("%d rounds agree" % rounds)
    return 0


sys.exit(main())
