#!/usr/bin/env python3
"""Expressions against DuckDB: random well-typed expressions over random rows with nulls and extremes.

    tests/expr_oracle.py [SEED [ROUNDS]]        BIN=build/bin

Every expression is made twice, as smap's text and as DuckDB's; where the languages differ by design
(integer division, casts of floats, what has no result) the second says what the first means.  What
can fail is in try() on both sides.  Exits 0 if all agree, 1 with the expressions that don't; 77
(skipped) if there is no duckdb module, since sqlite3 has neither these types nor these functions.
"""

import decimal
import math
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
BIN = os.environ.get("BIN", os.path.join(ROOT, "build", "bin"))
ROWS, ITEMS = 60, 40
COLUMNS = [("i", "int", "bigint"), ("j", "int", "bigint"), ("f", "float", "double"),
           ("g", "float", "double"), ("s", "string", "varchar"), ("r", "string", "varchar"),
           ("b", "bool", "boolean"), ("c", "bool", "boolean"), ("t", "timestamp", "timestamp"),
           ("v", "timestamp", "timestamp"), ("d", "date", "date"),
           ("m", "decimal(9,2)", "decimal(9,2)"), ("n", "decimal(9,3)", "decimal(9,3)")]
FIELDS = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond",
          "microsecond", "dow", "isodow", "doy", "isoyear", "decade", "century"]
PATTERNS = ["a+", "^[a-c]", "b|é", "x?y", "(a)(b)?", "[^a]$", ".", "\\d+", "日"]
LIKES = ["a%", "%b", "%é%", "_b%", "%", "", "a_c", "%a%b%", "日_"]


def text_make(rng):
    return "".join(rng.choice("abcxyAB 12é日😀ü") for _ in range(rng.choice([0, 1, 3, 3, 6, 12])))


def rows_make(rng):
    ints = [0, 1, -1, 2, 7, 2**63 - 1, -2**63, 2**31, 1000000007]
    floats = [0.0, -0.0, 0.5, -2.5, 1e300, -1e300, 1e-300, 3.0, 123456.789]

    def one():
        yield rng.choice(ints + [rng.randint(-99, 99)] * 9)
        yield rng.choice(ints + [rng.randint(-9, 9)] * 9)
        yield rng.choice(floats + [round(rng.uniform(-99, 99), 3)] * 9)
        yield rng.choice(floats + [round(rng.uniform(-9, 9), 1)] * 9)
        yield text_make(rng)
        yield text_make(rng)
        yield rng.random() < .5
        yield rng.random() < .5
        for _ in range(2):
            yield "%04d-%02d-%02d %02d:%02d:%02d.%06d" % (
                rng.choice([1900, 1969, 1970, 2000, 2012, 2024, 2100]), rng.randint(1, 12),
                rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59), rng.randint(0, 59),
                rng.choice([0, 1, 500000, 999999]))
        yield "%04d-%02d-%02d" % (rng.randint(1890, 2110), rng.randint(1, 12), rng.randint(1, 28))
        yield decimal.Decimal(rng.choice([0, 1, -1, 50, 9999999, rng.randint(-99999, 99999)])) / 100
        yield decimal.Decimal(rng.choice([0, 5, -5, 1500, rng.randint(-99999, 99999)])) / 1000

    return [[None if rng.random() < .15 else v for v in one()] for _ in range(ROWS)]


class Maker:
    """Each method gives a pair: smap's text and DuckDB's."""

    def __init__(self, rng):
        self.rng = rng

    def pick(self, depth, leaves, nodes):
        if depth <= 0 or self.rng.random() < .2:
            return self.rng.choice(leaves)()
        return self.rng.choice(nodes)()

    def both(self, ours, theirs, *args):
        return ours.format(*[a[0] for a in args]), theirs.format(*[a[1] for a in args])

    def same(self, shape, *args):
        return self.both(shape, shape, *args)

    def column(self, *names):
        name = self.rng.choice(names)
        return name, name

    def quoted(self, text):
        return ("'%s'" % text.replace("'", "''"),) * 2

    def choice(self, kind, d):
        a, b, c = self.bool(d - 1), kind(d - 1), kind(d - 1)
        return self.rng.choice([
            lambda: self.same("(case when {} then {} else {} end)", a, b, c),
            lambda: self.same("(case when {} then {} end)", a, b),
            lambda: self.same("coalesce({}, {})", b, c),
            lambda: self.same("nullif({}, {})", b, c),
            lambda: self.same("greatest({}, {})", b, c),
            lambda: self.same("least({}, {})", b, c),
            lambda: self.same("if({}, {}, {})", a, b, c)])()

    def int(self, d):
        i, s, t = lambda: self.int(d - 1), lambda: self.text(d - 1), lambda: self.time(d - 1)
        field = self.quoted(self.rng.choice(FIELDS))
        return self.pick(d, [
            lambda: self.column("i", "j"),
            lambda: (str(self.rng.choice([0, 1, 2, 3, 10, 100])),) * 2], [
            lambda: self.same("try({} %s {})" % self.rng.choice("+-*"), i(), i()),
            lambda: self.both("try({} / {})", "try({} // {})", i(), i()),
            lambda: self.both("try({} % {})", "try({}::hugeint % {}::hugeint)::bigint", i(), i()),
            lambda: self.same("try(-{})", i()),
            lambda: self.same("try(abs({}))", i()),
            lambda: self.same("sign({})::int".replace("int", "bigint"), i()),
            lambda: self.same("length({})", s()),
            lambda: self.same("position({} in {})", s(), s()),
            lambda: self.same("strpos({}, {})", s(), s()),
            lambda: self.same("date_part({}, {})", field, t()),
            lambda: self.same("extract(%s from {})" % self.rng.choice(FIELDS), t()),
            lambda: self.both("try({}::int)", "try(trunc({})::bigint)", self.float(d - 1)),
            lambda: self.both("epoch_ms({})", "floor(epoch_us({}) / 1000.0)::bigint", t()),
            lambda: self.same("epoch_us({} - {})", t(), t()),
            lambda: self.choice(self.int, d)])

    def float(self, d):
        f = lambda: self.float(d - 1)
        return self.pick(d, [
            lambda: self.column("f", "g"),
            lambda: (lambda v: (v, v + "::double"))(self.rng.choice(["0.5", "2.0", "1e3", "0.0"]))], [
            lambda: self.same("({} %s {})" % self.rng.choice("+-"), f(), f()),
            lambda: self.both("try({} / {})", "({} / nullif({}, 0))", f(), f()),
            lambda: self.same("abs({})", f()),
            lambda: self.same("(-{})", f()),
            lambda: self.same("%s({})" % self.rng.choice(["floor", "ceil", "round", "trunc"]), f()),
            lambda: self.roots(f()),
            lambda: self.both("{}::float", "{}::double", self.int(d - 1)),
            lambda: self.choice(self.float, d)])

    def roots(self, f):
        name = self.rng.choice(["sqrt", "ln", "log10", "log2"])
        domain = "{0} >= 0" if name == "sqrt" else "{0} > 0"
        return self.both("try(%s({0}))" % name, "case when %s then %s({0}) end" % (domain, name), f)

    def text(self, d):
        s = lambda: self.text(d - 1)
        small = lambda: (str(self.rng.randint(-4, 6)),) * 2
        count = lambda: (str(self.rng.randint(0, 6)),) * 2
        pattern = self.quoted(self.rng.choice(PATTERNS))
        return self.pick(d, [
            lambda: self.column("s", "r"),
            lambda: self.quoted(text_make(self.rng))], [
            lambda: self.same("({} || {})", s(), s()),
            lambda: self.same("concat({}, {}, {})", s(), s(), self.int(d - 1)),
            lambda: self.same("concat_ws({}, {}, {})", s(), s(), s()),
            lambda: self.same("%s({})" % self.rng.choice(
                ["lower", "upper", "reverse", "trim", "ltrim", "rtrim"]), s()),
            lambda: self.same("%s({}, 'a1é')" % self.rng.choice(["trim", "ltrim", "rtrim"]), s()),
            lambda: self.same("substr({}, {}, {})", s(), small(), count()),
            lambda: self.same("substring({}, {})", s(), small()),
            lambda: self.same("%s({}, {})" % self.rng.choice(["left", "right"]), s(), small()),
            lambda: self.same("%s({}, {}, 'é-')" % self.rng.choice(["lpad", "rpad"]), s(), count()),
            lambda: self.same("repeat({}, {})", s(), small()),
            lambda: self.same("replace({}, {}, {})", s(), s(), s()),
            lambda: self.both("split_part({}, 'a', {})", "list_extract(string_split({}, 'a'), {})",
                              s(), (str(self.rng.randint(1, 3)),) * 2),
            lambda: self.same("regexp_replace({}, {}, '<\\0>', 'g')", s(), pattern),
            lambda: self.same("regexp_replace({}, {}, '_')", s(), pattern),
            lambda: self.both("regexp_extract({0}, {1})", "case when regexp_matches({0}, {1}) "
                              "then regexp_extract({0}, {1}) end", s(), pattern),
            lambda: self.same("strftime({}, '%Y-%m-%d %H:%M:%S.%f %a %B %j %I%p')", self.time(d - 1)),
            lambda: self.same("%s({})" % self.rng.choice(["md5", "sha256"]), s()),
            lambda: self.both("format('%06d|%-4s', {}, {})", "(printf('%06d', {0}) || '|' || case "
                              "when length({1}) < 4 then rpad({1}, 4, ' ') else {1} end)",
                              self.int(d - 1), s()),
            lambda: self.both("{}::string", "{}::varchar", self.int(d - 1)),
            lambda: self.choice(self.text, d)])

    def bool(self, d):
        b = lambda: self.bool(d - 1)
        like = self.quoted(self.rng.choice(LIKES))
        pattern = self.quoted(self.rng.choice(PATTERNS))
        kind = self.rng.choice([self.int, self.float, self.text, self.time, self.date, self.decimal])
        k = lambda: kind(d - 1)
        op = self.rng.choice(["=", "<>", "<", "<=", ">", ">=", "is distinct from",
                              "is not distinct from"])
        return self.pick(d, [
            lambda: self.column("b", "c"),
            lambda: (self.rng.choice(["true", "false", "null::bool"]),) * 2], [
            lambda: self.same("({} and {})", b(), b()),
            lambda: self.same("({} or {})", b(), b()),
            lambda: self.same("(not {})", b()),
            lambda: self.same("({} is %snull)" % self.rng.choice(["", "not "]), k()),
            lambda: self.same("({} %s {})" % op, k(), k()),
            lambda: self.same("({} %sbetween {} and {})" % self.rng.choice(["", "not "]), k(), k(), k()),
            lambda: self.same("({} %sin ({}, {}, {}))" % self.rng.choice(["", "not "]), k(), k(), k(), k()),
            lambda: self.same("({} %slike {})" % self.rng.choice(["", "not "]), self.text(d - 1), like),
            lambda: self.same("({} ilike {})", self.text(d - 1), like),
            lambda: self.same("regexp_matches({}, {})", self.text(d - 1), pattern),
            lambda: self.same("%s({}, {})" % self.rng.choice(
                ["starts_with", "ends_with", "contains"]), self.text(d - 1), self.text(d - 1)),
            lambda: self.choice(self.bool, d)])

    def time(self, d):
        unit = self.quoted(self.rng.choice(["year", "quarter", "month", "week", "day", "hour",
                                            "minute", "second", "millisecond", "decade"]))
        t = lambda: self.time(d - 1)
        return self.pick(d, [
            lambda: self.column("t", "v"),
            lambda: ("timestamp '2013-01-01 10:00:00'",) * 2], [
            lambda: self.both("date_trunc({}, {})", "date_trunc({}, {})::timestamp", unit, t()),
            lambda: self.same("({} + interval '%d minutes')" % self.rng.randint(-9, 9999), t()),
            lambda: self.same("({} - interval '3 hours')", t()),
            lambda: self.same("{}::timestamp", self.date(d - 1)),
            lambda: self.choice(self.time, d)])

    def date(self, d):
        return self.pick(d, [lambda: self.column("d")], [
            lambda: self.same("{}::date", self.time(d - 1)),
            lambda: self.both("({} + {})", "({} + {}::int)", self.date(d - 1),
                              (str(self.rng.randint(0, 99)),) * 2),
            lambda: self.choice(self.date, d)])

    def decimal(self, d):
        m = lambda: self.column("m", "n")
        return self.rng.choice([
            m,
            lambda: self.same("({} %s {})" % self.rng.choice("+-*"), m(), m()),
            lambda: self.same("({} %s 1.25)" % self.rng.choice("+-*"), m()),
            lambda: self.same("({} + 7)", m()),
            lambda: self.same("abs({})", m()),
            lambda: self.same("(-{})", m()),
            lambda: self.same("%s({})" % self.rng.choice(["round", "floor", "ceil", "trunc"]), m()),
            lambda: self.same("round({}, %d)" % self.rng.choice([0, 1, 2]), m())])()


RESULT = {"int": "({})::bigint", "float": "({})::double", "text": "{}", "bool": "{}",
          "time": "epoch_us({})", "date": "({} - date '1970-01-01')", "decimal": "({})::decimal(30,6)"}


def smap(folder, rows, items):
    import frames
    path, select = os.path.join(folder, "rows.csv"), os.path.join(folder, "select.sql")
    with open(path, "w") as f:
        f.write(",".join(c[0] for c in COLUMNS) + "\n")
        for row in rows:
            f.write(",".join("" if v is None else '"%s"' % v if isinstance(v, str) else
                             str(v).lower() for v in row) + "\n")
    with open(select, "w") as f:
        f.write(", ".join("%s as c%d" % (text, n) for n, text in enumerate(items)))
    spec = ", ".join("%s %s" % c[:2] for c in COLUMNS)
    one = subprocess.Popen([os.path.join(BIN, "ssource"), path, "-s", spec], stdout=subprocess.PIPE)
    two = subprocess.run([os.path.join(BIN, "smap"), "@" + select], stdin=one.stdout,
                         stdout=subprocess.PIPE)
    one.stdout.close()
    if one.wait() != 0 or two.returncode != 0:
        sys.exit("expr_oracle: the pipeline failed")
    with tempfile.TemporaryFile() as f:
        f.write(two.stdout)
        f.seek(0)
        stream = frames.read(f)
    scale = [int(t.split(",")[1][:-1]) if t.startswith("decimal") else None for t in stream.types]
    return [[v if v is None or s is None else decimal.Decimal(v).scaleb(-s)
             for v, s in zip(row, scale)] for row in stream.rows]


def agrees(a, b):
    if a is None or b is None:
        return a is b
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)
    return type(a) == type(b) and a == b


def one_round(rng, duck, folder):
    rows, make = rows_make(rng), Maker(rng)
    kinds = [rng.choice(list(RESULT)) for _ in range(ITEMS)]
    pairs = [getattr(make, kind)(rng.randint(1, 4)) for kind in kinds]
    duck.execute("create or replace table r (%s)" % ", ".join("%s %s" % (c[0], c[2]) for c in COLUMNS))
    duck.execute("insert into r values " + ", ".join(
        "(%s)" % ", ".join("?" * len(COLUMNS)) for _ in rows), [v for row in rows for v in row])
    ours, bad, skipped = smap(folder, rows, [p[0] for p in pairs]), 0, 0
    for n, (pair, kind) in enumerate(zip(pairs, kinds)):
        try:
            theirs = [row[0] for row in duck.execute(
                "select %s from r order by rowid" % RESULT[kind].format(pair[1])).fetchall()]
        except Exception as e:
            skipped += 1
            if os.environ.get("VERBOSE"):
                print("DuckDB refuses", pair[1], "\n  ", str(e).split("\n")[0])
            continue
        wrong = [(row, o[n], t) for row, o, t in zip(rows, ours, theirs) if not agrees(o[n], t)]
        if wrong:
            bad += 1
            print("%s\n   is %r\n  not %r\n  for %s  (%d rows)" % (pair[0], wrong[0][1], wrong[0][2],
                  ", ".join("%s=%r" % (c[0], v) for c, v in zip(COLUMNS, wrong[0][0])), len(wrong)))
    return bad, skipped


def main():
    try:
        import duckdb
    except ImportError:
        print("expr_oracle: no duckdb module: skipped", file=sys.stderr)
        return 77
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    print("expr_oracle: DuckDB %s, seed %d" % (duckdb.__version__, seed))
    rng, duck = random.Random(seed), duckdb.connect()
    duck.execute("set threads = 1")
    with tempfile.TemporaryDirectory() as folder:
        results = [one_round(rng, duck, folder) for _ in range(rounds)]
    bad, skipped = sum(r[0] for r in results), sum(r[1] for r in results)
    print("expr_oracle: %d expressions over %d rows each, %d differ, DuckDB refused %d" % (
        rounds * ITEMS, ROWS, bad, skipped))
    return 1 if bad or skipped > rounds * ITEMS // 10 else 0


if __name__ == "__main__":
    sys.exit(main())
