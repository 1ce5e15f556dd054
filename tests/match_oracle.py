#!/usr/bin/env python3
"""Random patterns over short random sequences: smatch against a matcher that tries everything.

    tests/match_oracle.py [--seed N] [--rounds N]        BIN=build/bin
    tests/match_oracle.py --flink [--seed N]             beside Apache Flink's MATCH_RECOGNIZE, row by row

The judge has nothing in common with the program.  It writes out, in the order of preference, all ways
to be a pattern: SQL's definition of which match counts is the first of them that the conditions allow.
Conditions are Python functions over (rows of the match so far, the row's variable)."""
import argparse
import json
import os
import random
import subprocess
import sys
import time

VARIABLES = "ABCD"


# ---- patterns: as text, and as all ways to be one, preferred ones first ----

class Pattern:
    def __init__(self, kind, items=(), low=0, high=None, reluctant=False, name=None):
        self.kind, self.items, self.low, self.high = kind, list(items), low, high
        self.reluctant, self.name = reluctant, name

    def text(self):
        if self.kind == "var":
            return self.name
        if self.kind == "seq":
            return " ".join(i.text() for i in self.items)
        if self.kind == "alt":
            return "(" + " | ".join(i.text() for i in self.items) + ")"
        if self.kind == "permute":
            return "PERMUTE(" + ", ".join(i.text() for i in self.items) + ")"
        if self.kind == "exclude":
            return "{- " + self.items[0].text() + " -}"
        inner = self.items[0]
        counts = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((self.low, self.high))
        if counts is None:
            counts = "{%s}" % (self.low if self.low == self.high else "%s,%s" % (
                self.low or "", "" if self.high is None else self.high))
            if counts == "{,}":
                counts = "*"
        body = inner.text() if inner.kind in ("var", "alt") else "(" + inner.text() + ")"
        return body + counts + ("?" if self.reluctant else "")


def matches(pattern, at, path, allowed, limit):
    """All paths that are the pattern from row `at` on, as lists of (row, variable, excluded), preferred
    ones first.  allowed(path, row, variable) tells whether a row may follow."""
    kind = pattern.kind
    if kind == "var":
        if at < limit and allowed(path, at, pattern.name):
            yield at + 1, path + ((at, pattern.name, False),)
    elif kind == "seq":
        def each(i, a, p):
            if i == len(pattern.items):
                yield a, p
                return
            for b, q in matches(pattern.items[i], a, p, allowed, limit):
                yield from each(i + 1, b, q)
        yield from each(0, at, path)
    elif kind == "alt":
        for i in pattern.items:
            yield from matches(i, at, path, allowed, limit)
    elif kind == "permute":
        def orders(left):
            if not left:
                yield []
            for i in range(len(left)):
                for rest in orders(left[:i] + left[i + 1:]):
                    yield [left[i]] + rest
        for order in orders(pattern.items):
            yield from matches(Pattern("seq", order), at, path, allowed, limit)
    elif kind == "exclude":
        n = len(path)
        for b, q in matches(pattern.items[0], at, path, allowed, limit):
            yield b, q[:n] + tuple((r, v, True) for r, v, _ in q[n:])
    else:
        def rounds(count, a, p):
            more = pattern.high is None or count < pattern.high

            def go_on():
                if more:
                    for b, q in matches(pattern.items[0], a, p, allowed, limit):
                        if b > a or count < pattern.low:
                            yield from rounds(count + 1, b, q)
                        else:  # a round without a row ends the loop
                            yield a, p
            if count < pattern.low:
                yield from go_on()
            elif pattern.reluctant:
                yield a, p
                yield from go_on()
            else:
                yield from go_on()
                yield a, p
        yield from rounds(0, at, path)


def random_pattern(r, depth=0):
    kind = r.choices(["var", "seq", "alt", "repeat", "permute", "exclude"],
                     [4, 3, 1.5, 3, .5, .5] if depth < 3 else [1, 0, 0, 0, 0, 0])[0]
    if kind == "var":
        return Pattern("var", name=r.choice(VARIABLES))
    if kind in ("seq", "alt"):
        return Pattern(kind, [random_pattern(r, depth + 1) for _ in range(r.randrange(2, 4))])
    if kind == "permute":
        return Pattern(kind, [random_pattern(r, depth + 2) for _ in range(r.randrange(2, 4))])
    if kind == "exclude":
        return Pattern(kind, [random_pattern(r, depth + 1)])
    low, high = r.choice([(0, None), (1, None), (0, 1), (2, 2), (1, 3), (0, 2), (2, None)])
    return Pattern("repeat", [random_pattern(r, depth + 1)], low, high, r.random() < .3)


# ---- conditions: their text, and what they mean ----

def last(path, variables, rows, offset=0):
    of = [row for row, v, _ in path if v in variables]
    return rows[of[-1 - offset]]["x"] if len(of) > offset else None


def first(path, variables, rows, offset=0):
    of = [row for row, v, _ in path if v in variables]
    return rows[of[offset]]["x"] if len(of) > offset else None


def compare(a, op, b):
    if a is None or b is None:
        return False
    return {"<": a < b, ">": a > b, "=": a == b, "<=": a <= b, ">=": a >= b}[op]


def random_condition(r, v, used):
    op = r.choice(["<", ">", "=", "<=", ">="])
    k = r.randrange(0, 6)
    other = r.choice(sorted(used))
    kind = r.choices(range(11), [5, 2, 2, 2, 1, 1, 1, 1, 1, 1, .5])[0]
    if kind == 0:
        return "x %s %d" % (op, k), lambda p, at, rows: compare(rows[at]["x"], op, k)
    if kind == 1:
        n = r.choice([1, 1, 2])
        return ("x %s prev(x%s)" % (op, "" if n == 1 else ", %d" % n),
                lambda p, at, rows: compare(rows[at]["x"], op, rows[at - n]["x"] if at >= n else None))
    if kind == 2:  # the row at hand counts as v
        return ("x %s %s.x" % (op, other),
                lambda p, at, rows: compare(rows[at]["x"], op, last(p, other, rows)))
    if kind == 3:
        n = r.randrange(0, 3)
        return ("x %s last(%s.x, %d)" % (op, other, n),
                lambda p, at, rows: compare(rows[at]["x"], op, last(p, other, rows, n)))
    if kind == 4:
        n = r.randrange(0, 2)
        return ("x %s first(%s.x, %d)" % (op, other, n),
                lambda p, at, rows: compare(rows[at]["x"], op, first(p, other, rows, n)))
    if kind == 5:
        return ("count(%s.*) <= %d" % (other, k),
                lambda p, at, rows: sum(q == other for _, q, _ in p) <= k)
    if kind == 6:
        def total(p, at, rows):
            of = [rows[row]["x"] for row, q, _ in p if q == other and rows[row]["x"] is not None]
            return compare(sum(of) if of else None, op, 3 * k)
        return "sum(%s.x) %s %d" % (other, op, 3 * k), total
    if kind == 7:
        def least(p, at, rows):
            of = [rows[row]["x"] for row, _, _ in p if rows[row]["x"] is not None]
            return compare(rows[at]["x"], op, min(of) if of else None)
        return "x %s min(x)" % op, least
    n = r.choice([1, 2])
    if kind == 9:
        return ("x %s next(x%s)" % (op, "" if n == 1 else ", %d" % n),
                lambda p, at, rows: compare(rows[at]["x"], op, rows[at + n]["x"] if at + n < len(rows) else None))
    if kind == 10:
        def behind_last(p, at, rows):
            of = [row for row, q, _ in p if q == other]
            behind = of[-1] + n if of else len(rows)
            return compare(rows[at]["x"], op, rows[behind]["x"] if behind < len(rows) else None)
        return "x %s next(last(%s.x), %d)" % (op, other, n), behind_last

    def before_last(p, at, rows):
        of = [row for row, q, _ in p if q == other]
        at_last = of[-1] - n if of else -1
        return compare(rows[at]["x"], op, rows[at_last]["x"] if of and at_last >= 0 else None)
    return "x %s prev(last(%s.x), %d)" % (op, other, n), before_last


# ---- one question, answered twice ----

class Question:
    def __init__(self, r):
        self.pattern = random_pattern(r)
        self.used = set(self.names(self.pattern))
        self.conditions, texts = {}, []
        for v in sorted(self.used):
            if r.random() < .8:
                parts = [random_condition(r, v, self.used) for _ in range(r.choice([1, 1, 1, 2]))]
                glue = r.choice([" and ", " or "]) if len(parts) > 1 else ""
                self.conditions[v] = ([f for _, f in parts], glue)
                texts.append("%s: %s" % (v, glue.join(t for t, _ in parts)))
        self.define = "; ".join(texts)
        self.within = r.choice([None, None, 3, 8])
        self.after = r.choices(["last", "next", "var", "first"], [4, 2, 1, 1])[0]
        self.variable = r.choice(sorted(self.used))
        self.all_rows = r.random() < .3
        self.some = r.choice(sorted(self.used))
        v = self.some
        self.list = ("match_number() as m, count(*) as n, first(x) as f, x as l, first(%s.x, 1) as a, "
                     "last(%s.x) as b, count(%s.*) as c, sum(%s.x) as s, avg(x) as d, prev(first(x)) as p, "
                     "next(%s.x) as q, classifier() as k, min(%s.x) as i, max(x) as j" % (v, v, v, v, v, v))
        if self.all_rows:
            self.list += ", final(count(*)) as fn, final(last(%s.x)) as fl" % v

    def names(self, p):
        return [p.name] if p.kind == "var" else [n for i in p.items for n in self.names(i)]

    def options(self):
        o = ["-k", "key", "--pattern", self.pattern.text()]
        if self.define:
            o += ["--define", self.define]
        if self.within is not None:
            o += ["--within", "%ds" % self.within]
        if self.after in ("var", "first"):
            o += ["--after-match", ("first:" if self.after == "first" else "") + self.variable]
        elif self.after == "next":
            o += ["--after-match", "next"]
        return o + (["--all-rows"] if self.all_rows else []) + [self.list]

    def measures(self, rows, whole, path, number, at):
        """Of a match, as far as its row at position `at`."""
        seen = whole[:at + 1]
        xs = [rows[row]["x"] for row, _, _ in seen]
        known = [x for x in xs if x is not None]
        mine = [row for row, v, _ in seen if v == self.some]
        mine_x = [rows[row]["x"] for row in mine if rows[row]["x"] is not None]
        end = whole[-1][0]
        before = whole[0][0] - 1
        out = {"m": number, "n": len(seen), "f": xs[0], "l": xs[-1],
               "a": rows[mine[1]]["x"] if len(mine) > 1 else None,
               "b": rows[mine[-1]]["x"] if mine else None, "c": len(mine),
               "s": sum(mine_x) if mine_x else None, "d": sum(known) / len(known) if known else None,
               "p": rows[before]["x"] if before >= 0 else None,
               "q": rows[mine[-1] + 1]["x"] if mine and mine[-1] + 1 <= end else None,
               "k": seen[-1][1], "i": min(mine_x) if mine_x else None,
               "j": max(known) if known else None}
        if self.all_rows:
            all_mine = [row for row, v, _ in whole if v == self.some]
            out["fn"] = len(whole)
            out["fl"] = rows[all_mine[-1]]["x"] if all_mine else None
        return out

    def answer(self, rows):
        """Rows of one key, in order; None: it is an error."""
        def allowed(path, row, v):
            if self.within is not None and path and rows[row]["at"] - rows[path[0][0]]["at"] > self.within:
                return False
            if v not in self.conditions:
                return True
            functions, glue = self.conditions[v]
            p = path + ((row, v, False),)
            results = [f(p, row, rows) for f in functions]
            return any(results) if glue == " or " else all(results)

        out, start, number = [], 0, 0
        while start < len(rows):
            found = next(matches(self.pattern, start, (), allowed, len(rows)), None)
            path = found[1] if found else ()
            if not path:
                start += 1
                continue
            number += 1
            for at in range(len(path)) if self.all_rows else [len(path) - 1]:
                if self.all_rows and path[at][2]:
                    continue
                row = dict(rows[path[at][0]]) if self.all_rows else {"key": rows[0]["key"]}
                row.update(self.measures(rows, path, path, number, at))
                out.append(row)
            if self.after == "last":
                start = path[-1][0] + 1
            elif self.after == "next":
                start += 1
            else:
                of = [row for row, v, _ in path if v == self.variable]
                if not of:
                    return None
                to = of[0] if self.after == "first" else of[-1]
                if to == start:
                    return None
                start = to
        return out


def same(a, b):
    return a == b or (isinstance(a, float) and isinstance(b, (int, float)) and abs(a - b) < 1e-9)


def run(bin_dir, question, rows, timed, schema):
    source = [os.path.join(bin_dir, "ssource"), "-f", "ndjson", "-s", schema] + \
        (["-t", "at"] if timed else []) + (["-d", "3s"] if timed == "stream" else []) + ["-"]
    text = "".join(json.dumps({"key": x["key"], "at": x["at"] * 1000, "x": x["x"]}) + "\n" for x in rows)
    a = subprocess.run(source, input=text.encode(), capture_output=True)
    b = subprocess.run([os.path.join(bin_dir, "smatch")] + question.options(), input=a.stdout,
                       capture_output=True)
    if b.returncode:
        return b.returncode, b.stderr.decode()
    c = subprocess.run([os.path.join(bin_dir, "ssink"), "-f", "ndjson"], input=b.stdout,
                       capture_output=True, check=True)
    return 0, [json.loads(line) for line in c.stdout.splitlines()]


# ---- beside Flink: what both can (tests/peers/match_flink.py says what that is) ----

# name, pattern, [(variable, our condition, Flink's)], [(name, our measure, Flink's)], after, within
# Flink's LAST(A.x, 1) in A's own condition is the A before the row at hand, as ours.
FLINK_PATTERNS = [
    ("fixed counts", "A{2} B", [("A", "x > 2", "A.x > 2"), ("B", "x <= 2", "B.x <= 2")],
     [("a", "first(A.x)", "first(A.x)"), ("b", "B.x", "B.x"), ("s", "sum(A.x)", "sum(A.x)")], "last", None),
    ("ranges", "A{1,3} B", [("A", "x > 1", "A.x > 1"), ("B", "x <= 1", "B.x <= 1")],
     [("n", "count(A.x)", "count(A.x)"), ("b", "B.x", "B.x"), ("at", "A.t", "A.t")], "last", None),
    ("as many as possible", "A+ B", [("A", "x >= 2", "A.x >= 2"), ("B", "x < 2", "B.x < 2")],
     [("n", "count(A.x)", "count(A.x)"), ("f", "first(A.x)", "first(A.x)"), ("l", "last(A.x)", "last(A.x)"),
      ("b", "B.t", "B.t")], "last", None),
    ("as few as possible", "A B+? C", [("A", "x = 0", "A.x = 0"), ("C", "x = 3", "C.x = 3")],
     [("a", "A.t", "A.t"), ("n", "count(B.x)", "count(B.x)"), ("c", "C.t", "C.t")], "last", None),
    ("none or more", "A B* C", [("A", "x = 1", "A.x = 1"), ("B", "x > 2", "B.x > 2"), ("C", "x <= 2", "C.x <= 2")],
     [("a", "A.t", "A.t"), ("n", "count(B.x)", "count(B.x)"), ("m", "max(B.x)", "max(B.x)"), ("c", "C.x", "C.x")],
     "last", None),
    ("perhaps one", "A B? C", [("A", "x = 4", "A.x = 4"), ("B", "x < 2", "B.x < 2"), ("C", "x >= 2", "C.x >= 2")],
     [("a", "A.t", "A.t"), ("b", "B.x", "B.x"), ("c", "C.t", "C.t")], "last", None),
    ("every start", "A+ B", [("A", "x >= 2", "A.x >= 2"), ("B", "x < 2", "B.x < 2")],
     [("f", "first(A.t)", "first(A.t)"), ("n", "count(A.x)", "count(A.x)"), ("b", "B.t", "B.t")], "next", None),
    ("from a variable's last row", "A B+ C", [("A", "x < 2", "A.x < 2"), ("B", "x >= 2", "B.x >= 2"),
                                              ("C", "x < 2", "C.x < 2")],
     [("a", "A.t", "A.t"), ("n", "count(B.x)", "count(B.x)"), ("c", "C.t", "C.t")], "last:C", None),
    ("from a variable's first row", "A B+ C", [("A", "x >= 1", "A.x >= 1"), ("B", "x > A.x", "B.x > A.x"),
                                               ("C", "x <= A.x", "C.x <= A.x")],
     [("a", "A.t", "A.t"), ("n", "count(B.x)", "count(B.x)"), ("c", "C.t", "C.t")], "first:B", None),
    ("within", "A B+ C", [("A", "x < 3", "A.x < 3"), ("B", "x >= 3", "B.x >= 3"), ("C", "x < 3", "C.x < 3")],
     [("a", "A.t", "A.t"), ("n", "count(B.x)", "count(B.x)"), ("c", "C.t", "C.t")], "last", 6),
    ("another's row", "A B+ C", [("B", "x > A.x", "B.x > A.x"), ("C", "x <= A.x", "C.x <= A.x")],
     [("a", "A.x", "A.x"), ("b", "last(B.x)", "last(B.x)"), ("c", "C.x", "C.x"), ("t", "C.t", "C.t")], "last", None),
    ("the row before", "S D+ U",
     [("D", "x < prev(x)", "D.x < last(D.x, 1) or (last(D.x, 1) is null and D.x < S.x)"),
      ("U", "x >= prev(x)", "U.x >= last(D.x)")],
     [("s", "S.x", "S.x"), ("d", "last(D.x)", "last(D.x)"), ("e", "first(D.x, 1)", "first(D.x, 1)"),
      ("p", "last(D.x, 1)", "last(D.x, 1)"), ("u", "U.t", "U.t")], "last", None),
    ("a sum so far", "A+ B", [("A", "sum(A.x) < 7", "sum(A.x) < 7"), ("B", "sum(A.x) + x >= 7", "sum(A.x) + B.x >= 7")],
     [("n", "count(A.x)", "count(A.x)"), ("s", "sum(A.x)", "sum(A.x)"), ("t", "B.t", "B.t")], "last", None),
    ("a mean, the first, how many", "A B+ C",
     [("B", "x >= first(A.x) and count(B.x) <= 3", "B.x >= first(A.x) and count(B.x) <= 3"),
      ("C", "x < first(A.x)", "C.x < first(A.x)")],
     [("a", "A.t", "A.t"), ("m", "avg(B.x * 1.0)", "avg(cast(B.x as double))"), ("l", "min(B.x)", "min(B.x)"),
      ("c", "C.x", "C.x")], "next", None),
]
FLINK_AFTER = {"last": "past last row", "next": "to next row", "last:C": "to last C", "first:B": "to first B"}


def ask_both(cluster, folder, number, question, table):
    from match_flink import statement
    name, pattern, define, measures, after, within = question
    theirs = [row for _, row in cluster.run(statement(
        "events", "`key`", "ts", [(n, x) for n, _, x in measures], pattern, [(v, x) for v, _, x in define],
        FLINK_AFTER[after], "'%d' second" % within if within else None))]
    options = ["-k", "key", "--pattern", pattern, "--define", "; ".join("%s: %s" % (v, x) for v, x, _ in define),
               "--after-match", after] + (["--within", "%dms" % (within * 1000 - 1)] if within else [])
    got = []
    for delay in ([], ["-d", "0s"]):
        source = [table[0], "-f", "csv", "--header", "no", "-s", "key int, t int, x int, at timestamp(ms)", "-t", "at"]
        a = subprocess.run(source + delay + [folder + "/events.csv"], capture_output=True, check=True)
        b = subprocess.run([table[1]] + options + [", ".join("%s as %s" % (x, n) for n, x, _ in measures)],
                           input=a.stdout, capture_output=True, check=True)
        c = subprocess.run([table[2], "-f", "ndjson"], input=b.stdout, capture_output=True, check=True)
        got.append([[r["key"]] + [r[n] for n, _, _ in measures] for r in map(json.loads, c.stdout.splitlines())])

    def canonical(rows):
        return sorted((tuple("null" if v is None else "%.9g" % float(v) for v in r) for r in rows))
    a, b, c = canonical(theirs), canonical(got[0]), canonical(got[1])
    same_rows = a == b == c
    print("%-30s %6d matches %s" % (name, len(a), "agree" if same_rows else "DIFFER"), flush=True)
    if not same_rows:
        extra, missing = [r for r in b if r not in a], [r for r in a if r not in b]
        print("  ours %d, streamed %d; only ours: %s; only Flink's: %s" % (len(b), len(c), extra[:3], missing[:3]))
    return same_rows and len(a) > 0


def beside_flink(seed, bin_dir):
    """Rows of 40 keys, some at one time; numbers of rows as another column to know them by."""
    import tempfile
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
    import flink
    if not flink.is_there():
        print("no Flink here: tests/peers/flink.py fetch gets it")
        return 77
    r, failed = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder, flink.Flink() as cluster:
        at = 0
        with open(folder + "/events.csv", "w") as f:
            for n in range(20000):
                at += r.choice([0, 1, 10, 50, 200])
                f.write("%d,%d,%d,%d\n" % (r.randrange(40), n, r.randrange(6), at))
            for key in range(40):  # ends what has begun: Flink gives out nothing that waits for it at the end
                f.write("%d,%d,%d,%d\n" % (key, 20000 + key, -100, at + 60000))
        cluster.run("set 'table.local-time-zone' = 'UTC'")
        cluster.run("create table events (`key` int, t int, x int, ms bigint, ts as to_timestamp_ltz(ms, 3), watermark for "
                    "ts as ts - interval '0.001' second) with ('connector' = 'filesystem', 'path' = 'file://%s/events.csv', "
                    "'format' = 'csv')" % folder)
        table = [os.path.join(bin_dir, n) for n in ("ssource", "smatch", "ssink")]
        for number, question in enumerate(FLINK_PATTERNS):
            try:
                failed += not ask_both(cluster, folder, number, question, table)
            except RuntimeError as problem:
                failed += 1
                print("%-30s Flink can't: %s" % (question[0], str(problem).splitlines()[-1][:300]))
    print("%d patterns, %d differ (seed %d)" % (len(FLINK_PATTERNS), failed, seed))
    return 1 if failed else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=int(os.environ.get("SEED", time.time())))
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", 300)))
    p.add_argument("--bin", default=os.environ.get("BIN", "build/bin"))
    p.add_argument("--flink", action="store_true")
    args = p.parse_args()
    if args.flink:
        sys.exit(beside_flink(args.seed, args.bin))
    print("seed", args.seed, flush=True)
    found = errors = 0
    for round_ in range(args.rounds):
        r = random.Random(args.seed * 1000003 + round_)
        q = Question(r)
        keys = list(range(r.choice([1, 3, 12])))
        rows, at = [], 0
        for _ in range(r.choice([4, 12, 9 * len(keys)])):
            at += r.choice([0, 1, 1, 2, 5])
            rows.append({"key": r.choice(keys), "at": at, "x": r.choice([None] + list(range(6)) * 3)})
        timed = r.choice([None, "batch", "stream"])
        schema = "key int, at timestamp(ms), x int"
        if q.within is not None and not timed:
            timed = "batch"
        sent = list(rows)
        if timed == "batch":
            r.shuffle(sent)  # order is that of time, ties by arrival
            rows = sorted(sent, key=lambda x: x["at"])
        status, got = run(args.bin, q, sent, timed, schema)
        wanted = {}
        for key in keys:
            wanted[key] = q.answer([x for x in rows if x["key"] == key])
        if status or any(v is None for v in wanted.values()):
            if status != 1 or not any(v is None for v in wanted.values()):
                sys.exit("round %d: %s\n%s\nstatus %d\n%s" % (round_, q.options(), rows, status, got))
            errors += 1
            continue
        for key in keys:
            mine = [x for x in got if x["key"] == key]
            for x in mine:
                x.pop("at", None), x.pop("x", None) if q.all_rows else None
            theirs = [{k: v for k, v in x.items() if not (q.all_rows and k in ("at", "x"))}
                      for x in wanted[key]]
            found += len(theirs)
            if len(mine) != len(theirs) or any(
                    a.keys() != b.keys() or not all(same(a[k], b[k]) for k in a)
                    for a, b in zip(mine, theirs)):
                sys.exit("round %d, key %s: %s\nrows %s\ngot    %s\nwanted %s" % (
                    round_, key, " ".join("'%s'" % o for o in q.options()),
                    [(x["at"], x["x"]) for x in rows if x["key"] == key], mine, theirs))
    print("%d patterns, %d rows of matches, %d errors as they should be" % (args.rounds, found, errors))


main()
