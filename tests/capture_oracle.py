#!/usr/bin/env python3
"""PostgreSQL as a source, against a real server.

    tests/capture_oracle.py [--seed N] [--seconds S]

Types: tables of random columns with random rows are read as rows (COPY), as first rows and as changes of
a stream; all three must give the same, and every value must be what psql shows of it.

Capture: writers change a table in random transactions, while the stages of a supervised pipeline, its
supervisor and the server are killed (-9).  The changelog that comes out, applied in its order, must be
the table: every row that is taken back must be there, none may come twice.

Exit 77 without a server."""
import argparse
import collections
import datetime
import decimal
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(HERE, "../build/bin")))
PEER = os.path.join(HERE, "peers/postgres")
SLOW = 4 if "san" in BIN else 1
ENV = dict(os.environ, PATH=BIN + ":" + os.environ["PATH"], LC_ALL="C")


class Server:
    def __init__(self, directory):
        self.directory = directory
        done = subprocess.run([PEER, "start", directory], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        self.url = done.stdout.strip()

    def sql(self, text, check=True):
        done = subprocess.run([PEER, "psql", self.directory], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if check and done.returncode:
            raise RuntimeError(done.stderr + text[:2000])
        return done.stdout

    def kill(self):
        subprocess.run([PEER, "kill", self.directory], check=True)
        for attempt in range(5):
            if subprocess.run([PEER, "start", self.directory], stdout=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.5)
        raise RuntimeError("the server doesn't start again")

    def stop(self):
        subprocess.run([PEER, "stop", self.directory])


def run(command):
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=ENV, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
    return done.stdout


# ---- types ----

def literal(text):
    return "null" if text is None else "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def random_text(rng):
    alphabet = "abc ,\"'\\{}\u00e9\u4e16\U0001f600\t\n;()NULL"
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 3, 10, 200])))


def random_numeric(rng, precision, scale):
    digits = rng.randrange(1, precision + 1)
    value = decimal.Decimal(rng.randrange(10 ** digits)).scaleb(-scale)
    return format(-value if rng.random() < 0.5 else value, "f")


def random_json(rng, depth=0):
    kind = rng.randrange(5 if depth > 2 else 7)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.randrange(-10 ** 12, 10 ** 12)
    if kind == 3:
        return rng.randrange(-10 ** 6, 10 ** 6) / 8 + 0.0625
    if kind == 4:
        return random_text(rng)
    if kind == 5:
        return [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {f"k{i}": random_json(rng, depth + 1) for i in range(rng.randrange(4))}


def random_time(rng):
    low, high = datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)
    moment = low + (high - low) * rng.random() if rng.random() < 0.4 else \
        datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=rng.randrange(10 ** 8))
    return moment.replace(microsecond=rng.choice([0, 0, 1, 500000, 123456]))


def array_of(make):
    def element(value):
        return "null" if value is None else literal(value)

    def generate(rng):
        n, two = rng.randrange(4), rng.random() < 0.3
        if two and n:
            rows = [[element(make(rng)) for _ in range(2)] for _ in range(n)]
            return "array[" + ",".join("array[" + ",".join(r) + "]" for r in rows) + "]"
        return "array[" + ",".join(element(make(rng) if rng.random() < 0.8 else None) for _ in range(n)) + "]"
    return generate


def edge(rng, *values):
    return rng.choice(values)


def whole(bits):
    return lambda rng: str(rng.choice([0, 1, -1, 2 ** (bits - 1) - 1, -2 ** (bits - 1),
                                       rng.randrange(-2 ** (bits - 1), 2 ** (bits - 1))]))


def real(rng):
    return rng.choice(["0", "-0", "0.1", "NaN", "Infinity", "-Infinity", "1e-30", "3.4e38",
                       repr(rng.uniform(-1e6, 1e6)), repr(rng.random())])


def stamp(rng):
    return random_time(rng).isoformat(" ")


# name: (SQL type, a random value's text; raw SQL if it begins with "array")
TYPES = {
    "bool": ("boolean", lambda r: edge(r, "t", "f")),
    "int2": ("smallint", whole(16)),
    "int4": ("integer", whole(32)),
    "int8": ("bigint", whole(64)),
    "oid": ("oid", lambda r: str(r.randrange(2 ** 32))),
    "float4": ("real", real),
    "float8": ("double precision", lambda r: edge(r, real(r), "1.7976931348623157e308", "5e-324")),
    "num": ("numeric(12,4)", lambda r: random_numeric(r, 12, 4)),
    "num38": ("numeric(38,10)", lambda r: random_numeric(r, 38, 10)),
    "numsmall": ("numeric(3,7)", lambda r: random_numeric(r, 3, 7)),
    "numlarge": ("numeric(4,-3)", lambda r: str(r.randrange(-9999, 10000) * 1000)),
    "num60": ("numeric(60,20)", lambda r: random_numeric(r, 60, 20)),
    "numany": ("numeric", lambda r: edge(r, "NaN", "Infinity", "-Infinity", "0", "0.000", "1e100",
                                         "1e-50", "10000", "123456789.00012300",
                                         random_numeric(r, 80, 33))),
    "date": ("date", lambda r: edge(r, random_time(r).date().isoformat(), "0044-03-15 BC", "20000-01-31")),
    "ts": ("timestamp", lambda r: edge(r, stamp(r), "0044-03-15 10:00:00.5 BC", "20000-01-31 00:00:00")),
    "tz": ("timestamptz", lambda r: edge(r, stamp(r), stamp(r) + "+05:30", stamp(r) + "-11")),
    "ival": ("interval", lambda r: edge(r, "0", "1 day", "-1 day", "1 day -2 hours", "00:00:00.000001",
                                        "-00:00:00.5", "100000 hours", "26:03:04.5",
                                        f"{r.randrange(-999, 999)} days {r.randrange(-10**9, 10**9)} ms")),
    "text": ("text", random_text),
    "varchar": ("varchar(300)", random_text),
    "char": ("char(6)", lambda r: edge(r, "", "a", "abc", "x y")),
    "name": ("name", lambda r: "n" + str(r.randrange(99))),
    "uuid": ("uuid", lambda r: "%032x" % r.randrange(2 ** 128)),
    "bytea": ("bytea", lambda r: "\\x" + bytes(r.randrange(256) for _ in range(r.randrange(9))).hex()),
    "json": ("json", lambda r: json.dumps(random_json(r))),
    "jsonb": ("jsonb", lambda r: json.dumps(random_json(r))),
    "mood": ("mood", lambda r: edge(r, "sad", "it's, \"ok\"")),
    "pos": ("pos", lambda r: random_numeric(r, 6, 2).lstrip("-")),
    "inet": ("inet", lambda r: edge(r, "10.0.0.1", "10.0.0.0/8", "::1")),
    "time": ("time", lambda r: "10:%02d:12.5" % r.randrange(60)),
    "range": ("int4range", lambda r: edge(r, "[1,5)", "empty", "(,3)")),
    "pair": ("pair", lambda r: edge(r, "(1,a)", "(,)", '(2,"x y")')),
    "bits": ("bit varying(9)", lambda r: format(r.randrange(256), "b")),
    "money": ("money", lambda r: str(r.randrange(10000) / 100)),
    "aint": ("integer[]", array_of(whole(32))),
    "afloat": ("float8[]", array_of(lambda r: repr(r.randrange(-8000, 8000) / 8 + 0.0625))),
    "areal": ("real[]", array_of(lambda r: repr(r.randrange(-8000, 8000) / 8 + 0.0625))),
    "abool": ("boolean[]", array_of(lambda r: edge(r, "t", "f"))),
    "atext": ("text[]", array_of(random_text)),
    "anum": ("numeric[]", array_of(lambda r: random_numeric(r, 20, 5))),
    "adate": ("date[]", array_of(lambda r: random_time(r).date().isoformat())),
    "atz": ("timestamptz[]", array_of(stamp)),
    "abytea": ("bytea[]", array_of(lambda r: "\\x" + bytes(r.randrange(256) for _ in range(3)).hex())),
    "ajson": ("jsonb[]", array_of(lambda r: json.dumps(random_json(r)))),
    "auuid": ("uuid[]", array_of(lambda r: "%032x" % r.randrange(2 ** 128))),
    "ainet": ("inet[]", array_of(lambda r: edge(r, "10.0.0.1", "::1"))),
    "abox": ("box[]", lambda r: "array['(1,1),(0,0)'::box, '(3,4),(1,2)'::box]"),
}
SETTINGS = ("set datestyle = iso; set intervalstyle = iso_8601; set timezone = 'UTC'; "
            "set bytea_output = hex; set extra_float_digits = 1;\n")


def value_of(kind, rng, nulls):
    if rng.random() < nulls:
        return "null"
    sql, make = TYPES[kind]
    text = make(rng)
    return f"{text}::{sql}" if text.startswith("array") else f"{literal(text)}::{sql}"


def civil(text):
    """Microseconds since 1970 of a timestamp's text, in any year."""
    bc = text.endswith(" BC")
    text = text.removesuffix(" BC").removesuffix("+00")
    day, _, clock = text.partition(" ")
    year, month, d = (int(x) for x in day.split("-"))
    year = 1 - year if bc else year
    shift = (year - 2000) // 400
    base = datetime.datetime(year - shift * 400, month, d)
    days = (base - datetime.datetime(1970, 1, 1)).days + shift * 146097
    hours, minutes, seconds = (clock or "0:0:0").split(":")
    return days, int(hours) * 3600 * 10 ** 6 + int(minutes) * 60 * 10 ** 6 + int(
        decimal.Decimal(seconds) * 10 ** 6)


def as_shown(kind, text, got):
    """What ssink -f ndjson shows must be the value whose text psql shows."""
    if kind in ("json", "jsonb") and text == "null":
        return got is None
    if text is None or got is None:
        return text is None and got is None
    if kind in ("bool",):
        return got is (text == "t")
    if kind in ("int2", "int4", "int8", "oid"):
        return got == decimal.Decimal(text)
    if kind in ("float4", "float8"):
        if text in ("NaN", "Infinity", "-Infinity"):
            return False
        import struct
        wanted = float(text)
        if kind == "float4":
            wanted = struct.unpack("f", struct.pack("f", wanted))[0]
        return float(got) == wanted
    if kind in ("num", "num38", "numsmall", "numlarge", "pos"):
        return decimal.Decimal(str(got)) == decimal.Decimal(text)
    if kind in ("date", "ts", "tz"):
        shown = got.removesuffix("Z").replace("T", " ")
        if shown[0] in "+-":  # ISO 8601's expanded years
            year, rest = shown[1:].split("-", 1)
            n = int(year) * (-1 if shown[0] == "-" else 1)
            shown = f"{n}-{rest}" if n > 0 else f"{1 - n}-{rest} BC"
        return civil(shown) == civil(text)
    if kind == "bytea":
        import base64
        return base64.b64decode(got) == bytes.fromhex(text[2:])
    if kind in ("json", "jsonb"):
        return got == json.loads(text)
    if kind in ("ival",) or kind.startswith("a"):
        return True  # as text, and both ways the same: below
    return got == text


def parse(text):
    return [json.loads(line, parse_float=decimal.Decimal) for line in text.splitlines()]


def floats(value):
    if isinstance(value, dict):
        return {k: floats(v) for k, v in value.items()}
    if isinstance(value, list):
        return [floats(v) for v in value]
    return float(value) if isinstance(value, decimal.Decimal) else value


def types_once(server, seed):
    rng = random.Random(seed)
    kinds = rng.sample(sorted(TYPES), rng.randrange(1, 16))
    finite = [k for k in kinds if k not in ("float4", "float8")]
    table = f"types_{seed}"
    nulls = rng.choice([0, 0.1, 0.5])
    rows = rng.choice([1, 3, 40])
    columns = "".join(f", \"{k}\" {TYPES[k][0]}" for k in kinds)
    server.sql(f"create table {table} (id int primary key{columns}); "
               f"alter table {table} replica identity full;"
               f"create publication {table}_pub for table {table};"
               f"select pg_create_logical_replication_slot('{table}', 'pgoutput')")
    values = "".join(f"insert into {table} values ({i}" +
                     "".join(", " + value_of(k, rng, nulls) for k in kinds) + ");\n" for i in range(rows))
    server.sql(SETTINGS + values)
    url = f"{server.url}?table={table}"
    copied = run(f"ssource '{url}' | ssink -f ndjson")
    changed = run(f"ssource '{url}&slot={table}&publication={table}_pub' --snapshot no --limit {rows} | "
                  "ssink -f ndjson")
    first = run(f"ssource '{url}&publication={table}_pub' --follow --limit {rows} | ssink -f ndjson")
    by_id = {row["id"]: row for row in parse(copied)}
    assert len(by_id) == rows, "rows are missing"
    for what, text in (("changes", changed), ("first rows", first)):
        for row in parse(text):
            assert row.pop("op") == "+I"
            assert row == by_id[row["id"]], f"{what}: {row}\nrows: {by_id[row['id']]}"
    shown = server.sql(SETTINGS + "select id" + "".join(
        f", case num_nulls(\"{k}\") when 0 then to_json(format('%s', \"{k}\")) end" for k in kinds) +
        f" from {table} order by id".replace("\\", "")).splitlines() if rows else []
    # Every column as string is psql's text; format('%s') says t where a cast says true.
    strings = run(f"ssource '{url}' -s 'id" + "".join(f", \"{k}\" string" for k in kinds) +
                  "' | ssink -f ndjson")
    texts = server.sql(SETTINGS + "select json_build_object('id', id" + "".join(
        f", '{k}', case num_nulls(\"{k}\") when 0 then format('%s', \"{k}\") end" for k in kinds) +
        f") from {table}")
    texts = {row["id"]: row for row in (json.loads(line) for line in texts.splitlines())}
    for row in (json.loads(line) for line in strings.splitlines()):
        wanted = texts[row["id"]]
        for k in kinds:
            expected = wanted[k]
            if k == "bool" and expected is not None:
                expected = {"t": "true", "f": "false"}[expected]
            assert row[k] == expected, f"{k} as string: {row[k]!r}, psql says {expected!r}"
    for n, row in by_id.items():
        for k in finite:
            got = floats(row[k]) if k in ("json", "jsonb") else row[k]
            assert as_shown(k, texts[n][k], got), f"{k}: {row[k]!r}, psql says {texts[n][k]!r}"
    server.sql(f"select pg_drop_replication_slot('{table}'); drop table {table}; "
               f"drop publication {table}_pub")


# ---- capture under fire ----

class Writer(threading.Thread):
    """Random transactions through a psql of its own; a lost connection is opened again."""

    def __init__(self, server, number, seed, until):
        super().__init__()
        self.server, self.number, self.until = server, number, until
        self.rng = random.Random(seed)
        self.transactions = 0

    def statement(self):
        r = self.rng
        key = r.randrange(300)
        text = literal("w%d " % self.number + ("x" * r.choice([1, 10, 100])
                                               if r.random() < 0.95 else "".join(
            r.choice("abcdefgh") for _ in range(9000))))
        kind = r.random()
        if kind < 0.35:
            return (f"insert into captured values ({key}, {text}, {r.randrange(10 ** 6)}) "
                    "on conflict (id) do update set n = captured.n + 1;")
        if kind < 0.6:
            return f"update captured set n = n + 1 where id = {key};"
        if kind < 0.7:
            return f"update captured set name = {text} where id between {key} and {key + 5};"
        if kind < 0.8:
            return f"delete from captured where id = {key};"
        if kind < 0.87:
            return (f"update captured set id = {key + 1000} where id = {key} and not exists "
                    f"(select from captured where id = {key + 1000});")
        if kind < 0.93:
            return f"insert into elsewhere values ({key});"
        return f"delete from captured where id between {key} and {key + 20};"

    def run(self):
        while time.monotonic() < self.until:
            script = []
            for _ in range(30):
                n = self.rng.choice([1, 1, 1, 3, 20])
                end = "rollback;" if self.rng.random() < 0.1 else "commit;"
                script.append("begin;" + "".join(self.statement() for _ in range(n)) + end)
                script.append(f"select pg_sleep({self.rng.random() * 0.02});")
            # A deadlock or a killed server fails some: whatever is committed counts.
            subprocess.run([os.path.join(HERE, "peers/postgres"), "psql", self.server.directory,
                            "-v", "ON_ERROR_STOP=0"], input="\n".join(script), text=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.transactions += 30


def tasks_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Capture:
    def __init__(self, server, directory, seed, seconds):
        self.server, self.directory, self.seconds = server, directory, seconds
        self.rng = random.Random(seed)
        self.kills = collections.Counter()
        self.state = os.path.join(directory, "state")

    def start(self):
        self.log = open(os.path.join(self.directory, "log"), "a")
        return subprocess.Popen(
            ["runnel", "--state", self.state, "--checkpoint", self.rng.choice(["20ms", "100ms", "300ms"]),
             "--restart", "1000/3s", "-c",
             f"ssource '{self.server.url}?table=captured&slot=captured' | "
             "smap '*, length(name) as l' | ssink -f ndjson out/"],
            cwd=self.directory, env=ENV, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def strike(self, job):
        kind = self.rng.choice(["stage"] * 6 + ["supervisor"] * 2 + ["all"] + ["server"] * 2)
        pids = tasks_of(job.pid)
        self.kills[kind] += 1
        if kind == "server":
            self.server.kill()
        elif kind == "stage" and pids:
            kill(self.rng.choice(pids))
        elif kind in ("all", "supervisor"):
            for p in pids if kind == "all" else []:
                kill(p)
            kill(job.pid)
            job.wait()

    def restart(self, job):
        """A job that has gone, by a kill or because the server was."""
        if job.poll() is None:
            return job
        if job.returncode not in (-signal.SIGKILL, 5):
            raise RuntimeError(f"runnel ended with status {job.returncode}; see {self.directory}/log")
        return self.start()

    def drain(self, job):
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            job = self.restart(job)
            subprocess.run(["sctl", "stop", self.state, "--drain"], env=ENV, stdout=self.log, stderr=self.log,
                           stdin=subprocess.DEVNULL, timeout=60)
            try:
                if job.wait(timeout=20) == 0:
                    return
            except subprocess.TimeoutExpired:
                pass
        raise RuntimeError("the job doesn't come to its end")

    def materialise(self):
        rows = collections.Counter()
        changes = 0
        for path in sorted(glob.glob(os.path.join(self.directory, "out/part-*")),
                           key=lambda p: int(p.removesuffix(".ndjson").rsplit("-", 1)[1])):
            before = None
            with open(path) as f:
                for line in f:
                    row = json.loads(line)
                    op = row.pop("op")
                    key = (row["id"], row["name"], row["n"])
                    assert (row["name"] is None) == (row["l"] is None)
                    changes += 1
                    assert (op == "+U") == (before == "-U"), "an update that isn't a pair"
                    before = op
                    if op in ("+I", "+U"):
                        rows[key] += 1
                        assert rows[key] == 1, f"twice: {str(key)[:200]}"
                    else:
                        assert rows[key] == 1, f"not there to be taken back: {str(key)[:200]}"
                        del rows[key]
        return set(rows), changes

    def run(self):
        self.server.sql(
            "create table captured (id int primary key, name text, n int);"
            "alter table captured replica identity full; create table elsewhere (id int);"
            "insert into captured select i, 'first ' || i, i from generate_series(1, 300) i")
        until = time.monotonic() + self.seconds
        writers = [Writer(self.server, i, self.rng.random(), until) for i in range(3)]
        for w in writers:
            w.start()
        job = self.start()
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.02, 0.8) * SLOW)
            self.strike(job)
            job = self.restart(job)
        for w in writers:
            w.join()
        self.drain(job)
        got, changes = self.materialise()
        wanted = {(r["id"], r["name"], r["n"]) for r in (json.loads(line) for line in self.server.sql(
            "select row_to_json(captured) from captured").splitlines())}
        assert got == wanted, (f"{len(got - wanted)} rows too many, {len(wanted - got)} missing: "
                               f"{str(sorted(got ^ wanted))[:500]}")
        slots = self.server.sql("select slot_name from pg_replication_slots").split()
        assert slots == ["captured"], f"slots: {slots}"
        return changes, sum(w.transactions for w in writers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=8, help="of capture under fire")
    parser.add_argument("--types", type=int, default=6, help="random tables")
    parser.add_argument("--keep", action="store_true")
    o = parser.parse_args()
    print(f"seed {o.seed}")
    directory = tempfile.mkdtemp(prefix="runnel-capture-")
    server = Server(os.path.join(directory, "db"))
    status = 1
    try:
        server.sql("create type mood as enum ('sad', 'it''s, \"ok\"'); create domain pos as numeric(8,2); "
                   "create type pair as (a int, b text)")
        for i in range(o.types):
            types_once(server, o.seed + i)
        print(f"types: {o.types} random tables are the same as rows, first rows, changes and psql's text")
        if o.seconds:
            capture = Capture(server, directory, o.seed, o.seconds)
            changes, transactions = capture.run()
            print(f"capture: {changes} changes of {transactions} transactions are the table; kills: " +
                  ", ".join(f"{n} {k}" for k, n in capture.kills.items()))
        status = 0
    except (AssertionError, RuntimeError) as e:
        print(f"FAILED (seed {o.seed}): {e}\neverything is in {directory}")
    finally:
        server.stop()
        if status == 0 and not o.keep:
            shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    sys.exit(main())
