#!/usr/bin/env python3
"""Avro in and out on random schemas and rows, beside tests/tools/avro.py and, where it is there, fastavro.

    python3 tests/avro_oracle.py [SEED [ROUNDS]]

Every round: rows of all types of columns to a container file and back; a random schema (records in records,
arrays, maps, unions, enums, fixed, logical types) whose file is read, and whose rows, read as columns, become
the same records again by --avro-schema; messages of several schemas by a registry's numbers, whose schemas
come and go; the same file damaged, which must end with status 0 or 1 and never otherwise.  Reads $PATH for the
programs."""
import base64
import datetime
import http.server
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
import avro

try:
    import fastavro
except ImportError:
    fastavro = None

EPOCH = datetime.datetime(1970, 1, 1)
WORDS = ["", "a", "zwölf", "x" * 300, "\n", '"', "null", "日本", "1", "-", "a,b"]


def run(command, data=None, ok=(0,)):
    p = subprocess.run(command, shell=True, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if p.returncode not in ok or b"anitizer" in p.stderr:
        raise AssertionError("%s: status %d\n%s" % (command, p.returncode, p.stderr.decode()))
    return p.stdout


# ---- columns to a file ----

COLUMNS = {"bool": lambda r: r.random() < 0.5,
           "int": lambda r: r.choice([0, -1, 2**63 - 1, -2**63, r.randint(-10**6, 10**6), r.getrandbits(62)]),
           "float": lambda r: r.choice([0.0, -0.5, 1e300, 5e-324, r.random(), r.uniform(-1e9, 1e9)]),
           "decimal(20,3)": lambda r: r.choice([0, 1, -1, 128, -128, 32768, 10**20 - 1, -10**20 + 1, r.randint(-10**9, 10**9)]),
           "string": lambda r: r.choice(WORDS) + str(r.randrange(9)),
           "bytes": lambda r: r.choice(WORDS).encode(),
           "date": lambda r: r.randint(-700000, 2900000),
           "timestamp": lambda r: r.randint(-62135596800000000, 253402300799999999),
           "duration": lambda r: r.randint(-10**15, 10**15),
           "any": lambda r: r.choice([[1, "a", None], {"a": {"b": [True]}}, "t", 5, 1.5])}


def decimal_text(v, scale):
    digits = str(abs(v)).rjust(scale + 1, "0")
    return "-" * (v < 0) + digits[:-scale] + "." + digits[-scale:] if scale else str(v)


def iso(us):
    at = EPOCH + datetime.timedelta(microseconds=us)
    micros = us % 10**6
    return at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + (
        "" if not micros else ".%03d" % (micros // 1000) if micros % 1000 == 0 else ".%06d" % micros) + "Z"


def day(days):
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).isoformat()


def json_of(kind, v):
    if v is None:
        return None
    if kind.startswith("decimal"):
        return decimal_text(v, 3)
    if kind == "bytes":
        return base64.b64encode(v).decode()
    if kind == "date":
        return day(v)
    if kind == "timestamp":
        return iso(v)
    if kind == "duration":
        return "%dus" % v
    return v


def same(a, b):
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and (isinstance(a, bool) == isinstance(b, bool))


def must(got, wanted, what):
    if len(got) != len(wanted):
        raise AssertionError("%s: %d rows, not %d" % (what, len(got), len(wanted)))
    for i, (a, b) in enumerate(zip(got, wanted)):
        if not same(a, b):
            raise AssertionError("%s: row %d is\n%r, not\n%r" % (what, i, a, b))


def written(kind, v):
    """As Avro has it."""
    if v is None:
        return None
    if kind.startswith("decimal"):
        n = max(1, (v if v >= 0 else -v - 1).bit_length() // 8 + 1)
        return v.to_bytes(n, "big", signed=True)
    return json.dumps(v) if kind == "any" else v


def columns_out(rng, directory):
    kinds = rng.choices(list(COLUMNS), k=rng.randint(1, 8))
    names = ["c%d" % i for i in range(len(kinds))]
    rows = [[None if rng.random() < 0.1 else COLUMNS[k](rng) for k in kinds]
            for _ in range(rng.choice([0, 1, 10, 300]))]
    text = "".join(json.dumps({n: json_of(k, v) for n, k, v in zip(names, kinds, row)}) + "\n" for row in rows)
    spec = ", ".join("%s %s" % p for p in zip(names, kinds))
    codec = rng.choice(["null", "deflate"] + (["snappy", "zstandard"] if fastavro else []))
    path = os.path.join(directory, "c.avro")
    run("ssource -f ndjson -s '%s' - | ssink --avro-codec %s %s" % (spec, codec, path), text.encode())
    wanted = [{n: written(k, v) for n, k, v in zip(names, kinds, row)} for row in rows]
    data = open(path, "rb").read()
    if codec in ("null", "deflate"):
        schema, said, got, _ = avro.read_file(data)
        assert said == codec, said
        for row in got:
            for n, k in zip(names, kinds):
                if k == "any" and row[n] is not None:
                    row[n] = json.dumps(json.loads(row[n]))
        must(got, wanted, "columns to Avro")
    if fastavro and not {"timestamp", "date"} & set(kinds):
        try:
            assert len(list(fastavro.reader(io.BytesIO(data)))) == len(rows)
        except ValueError as e:
            if "library" not in str(e):
                raise
    spec = ", ".join("%s %s" % (n, "string" if k == "any" else k) for n, k in zip(names, kinds))
    first = run("ssource -f ndjson -s '%s' - | ssink -f csv" % ", ".join("%s %s" % p for p in zip(names, kinds)),
                text.encode())
    if "any" not in kinds:
        assert run("ssource -s '%s' %s | ssink -f csv" % (spec, path)) == first, "columns through Avro"


# ---- any schema to columns, and back ----

class Maker:
    """A random schema, and values of it with what they are as JSON."""

    def __init__(self, rng):
        self.rng, self.n = rng, 0

    def name(self):
        self.n += 1
        return "t%d" % self.n

    def simple(self):
        r = self.rng
        return r.choice(["boolean", "int", "long", "float", "double", "bytes", "string", "null",
                         {"type": "int", "logicalType": "date"},
                         {"type": "long", "logicalType": "timestamp-millis"},
                         {"type": "long", "logicalType": "timestamp-micros"},
                         {"type": "long", "logicalType": "no-such-thing"},
                         {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4},
                         {"type": "fixed", "name": self.name(), "size": 8, "logicalType": "decimal",
                          "precision": 12, "scale": 2},
                         {"type": "fixed", "name": self.name(), "size": r.randint(0, 9)},
                         {"type": "enum", "name": self.name(), "symbols": ["RED", "GREEN", "b_1"]}])

    def schema(self, depth):
        r = self.rng
        if depth == 0 or r.random() < 0.6:
            kind = self.simple()
            return ["null", kind] if kind != "null" and r.random() < 0.3 else \
                [kind, "null"] if kind != "null" and r.random() < 0.2 else kind
        return r.choice([
            lambda: {"type": "array", "items": self.schema(depth - 1)},
            lambda: {"type": "map", "values": self.schema(depth - 1)},
            lambda: self.record(depth - 1),
            lambda: ["null", self.record(depth - 1)],
            lambda: ["null", "string", "double", "boolean", {"type": "array", "items": "long"}]])()

    def record(self, depth):
        return {"type": "record", "name": self.name(), "fields": [
            {"name": "f%d" % i, "type": self.schema(depth)} for i in range(self.rng.randint(1, 5))]}

    def value(self, s):
        r = self.rng
        if isinstance(s, list):
            branch = r.randrange(len(s))
            return avro.Branch(branch, self.value(s[branch]))
        kind = s["type"] if isinstance(s, dict) else s
        logical = s.get("logicalType") if isinstance(s, dict) else None
        if logical == "date":
            return r.randint(-700000, 2900000)
        if logical == "decimal":
            v = r.choice([0, 1, -1, 10**12 - 1, -10**12 + 1, r.randint(-10**6, 10**6)])
            if kind == "fixed":
                return v.to_bytes(8, "big", signed=True)
            return v.to_bytes((v if v >= 0 else -v - 1).bit_length() // 8 + 1, "big", signed=True)
        if logical == "timestamp-millis":
            return r.randint(-62135596800000, 253402300799999)
        if logical == "timestamp-micros":
            return r.randint(-62135596800000000, 253402300799999999)
        make = {"null": lambda: None, "boolean": lambda: r.random() < 0.5,
                "int": lambda: r.choice([0, -2**31, 2**31 - 1, r.randint(-999, 999)]),
                "long": lambda: r.choice([0, -2**63, 2**63 - 1, r.randint(-10**9, 10**9)]),
                "float": lambda: struct.unpack("<f", struct.pack("<f", r.uniform(-1e6, 1e6)))[0],
                "double": lambda: r.choice([0.25, 1e300, r.random()]),
                "bytes": lambda: bytes(r.randrange(256) for _ in range(r.randrange(6))),
                "string": lambda: r.choice(WORDS),
                "enum": lambda: r.choice(s["symbols"]),
                "fixed": lambda: bytes(r.randrange(256) for _ in range(s["size"])),
                "record": lambda: {f["name"]: self.value(f["type"]) for f in s["fields"]},
                "array": lambda: [self.value(s["items"]) for _ in range(r.randrange(4))],
                "map": lambda: {"k%d" % i: self.value(s["values"]) for i in range(r.randrange(4))}}
        return make[kind]()


def shown(s, v, inside):
    """As ndjson shows it; inside: in a value of type any; None: the row itself."""
    if isinstance(s, list):
        return shown(s[v.branch], v.value, inside or len(s) > 2)
    kind = s["type"] if isinstance(s, dict) else s
    logical = s.get("logicalType") if isinstance(s, dict) else None
    if logical == "date":
        return day(v)
    if logical == "decimal":
        text = decimal_text(int.from_bytes(v, "big", signed=True), s["scale"])
        return text if inside else float(text)
    if logical and logical.startswith("timestamp"):
        return iso(v * 1000 if logical.endswith("millis") else v)
    if kind in ("bytes", "fixed"):
        return base64.b64encode(v).decode()
    if kind == "record":
        return {f["name"]: shown(f["type"], v[f["name"]], inside is not None) for f in s["fields"]}
    if kind == "array":
        return [shown(s["items"], x, True) for x in v]
    if kind == "map":
        return {k: shown(s["values"], x, True) for k, x in v.items()}
    return v


def bare(v):
    """Without branches."""
    if isinstance(v, avro.Branch):
        return bare(v.value)
    if isinstance(v, dict):
        return {k: bare(x) for k, x in v.items()}
    return [bare(x) for x in v] if isinstance(v, list) else v


def floats(v):
    return [floats(x) for x in v] if isinstance(v, list) else \
        {k: floats(x) for k, x in v.items()} if isinstance(v, dict) else \
        float(v) if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 2**53 else v


def any_schema(rng, directory):
    maker = Maker(rng)
    schema = maker.record(3)
    rows = [maker.value(schema) for _ in range(rng.choice([1, 5, 200]))]
    path, text = os.path.join(directory, "a.avro"), os.path.join(directory, "a.avsc")
    avro.write_file(path, schema, rows, rng, rng.choice(["null", "deflate"]))
    with open(text, "w") as f:
        json.dump(schema, f)
    got = [json.loads(line) for line in run("ssource %s | ssink -f ndjson" % path).splitlines()]
    must(floats(got), floats([shown(schema, r, None) for r in rows]), "Avro to columns, %s" % json.dumps(schema))
    out = io.BytesIO(run("ssource %s | ssink -f avro --avro-schema %s" % (path, text)))
    names, back = avro.learn(schema, {}), []
    while out.tell() < len(out.getvalue()):
        back.append(avro.get(out, schema, names))
    if out.getvalue():  # records of nulls only take no bytes: nobody can count them
        must(floats(back), floats([bare(r) for r in rows]), "by its schema, %s" % json.dumps(schema))
    data = bytearray(open(path, "rb").read())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    run("ssource -f avro --bad skip - | ssink null:", bytes(data[:rng.randint(1, len(data))]), ok=(0, 1, 2, 3))
    if fastavro:
        file = io.BytesIO()
        fastavro.writer(file, schema, [bare(r) for r in rows], codec=rng.choice(["null", "deflate"])) \
            if is_plain(schema) else file.write(open(path, "rb").read())
        again = run("ssource -f avro - | ssink -f ndjson", file.getvalue()).splitlines()
        must(floats([json.loads(line) for line in again]), floats(got), "fastavro's file")


def is_plain(schema):
    """What fastavro writes from values that have no branches and no logical types of Python's."""
    text = json.dumps(schema)
    return "logicalType" not in text and '"double", "boolean"' not in text


# ---- a registry ----

class Registry(http.server.BaseHTTPRequestHandler):
    schemas, subjects, asked, fails = {}, {}, [], 0

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.asked.append(self.path)
        if Registry.fails:
            Registry.fails -= 1
            return self.answer(503, {"message": "busy"})
        number = int(self.path.rsplit("/", 1)[1])
        if number not in self.schemas:
            return self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        return self.answer(200, {"schema": json.dumps(self.schemas[number])})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = 100000 + len(self.schemas)
        self.schemas[number] = json.loads(body["schema"])
        self.subjects[self.path] = number
        return self.answer(200, {"id": number})


EVOLUTION = [
    {"type": "record", "name": "r", "fields": [{"name": "id", "type": "int"}, {"name": "v", "type": "string"}]},
    {"type": "record", "name": "r", "fields": [{"name": "v", "type": ["null", "string"]}, {"name": "id", "type": "long"},
                                               {"name": "new", "type": "double"}]},
    {"type": "record", "name": "r", "fields": [{"name": "id", "type": ["long", "null"]}]}]


def registry(rng, url):
    messages, wanted = io.BytesIO(), []
    for number, schema in enumerate(EVOLUTION):
        Registry.schemas[7 + number] = schema
    for _ in range(rng.randint(1, 50)):
        number = rng.randrange(3)
        row = {"id": rng.randint(0, 999), "v": rng.choice(WORDS), "new": 0.5}
        schema = EVOLUTION[number]
        v = {f["name"]: avro.Branch(0 if f["name"] == "id" else 1, row[f["name"]]) if isinstance(f["type"], list)
             else row[f["name"]] for f in schema["fields"]}
        messages.write(b"\0" + struct.pack(">I", 7 + number))
        avro.put(messages, schema, v, {}, rng)
        wanted.append({"id": row["id"], "v": row["v"] if number < 2 else None})
    Registry.fails = rng.choice([0, 0, 1])
    got = run("ssource -f avro --registry %s -s 'id int, v string' - | ssink -f ndjson" % url, messages.getvalue())
    must([json.loads(line) for line in got.splitlines()], wanted, "a registry's messages")
    out = run("ssource -f ndjson - | ssink -f avro --registry %s" % url, got)
    number = Registry.subjects["/subjects/rows-value/versions"]
    f, back = io.BytesIO(out), []
    while f.tell() < len(out):
        assert f.read(5) == b"\0" + struct.pack(">I", number)
        back.append(avro.get(f, Registry.schemas[number], {}))
    must(back, wanted, "messages for a registry")
    run("ssource -f avro --registry %s - | ssink null:" % url, b"\0\0\0\0\1x", ok=(3,))


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6)
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 25
    print("seed %d%s" % (seed, "" if fastavro else ", without fastavro"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = "http://127.0.0.1:%d" % server.server_address[1]
    with tempfile.TemporaryDirectory() as directory:
        for i in range(rounds):
            rng = random.Random(seed * 1000 + i)
            try:
                columns_out(rng, directory)
                any_schema(rng, directory)
                if i % 5 == 0:
                    registry(rng, url)
            except AssertionError as e:
                print("seed %d, round %d: %s" % (seed, i, e), file=sys.stderr)
                return 1
    print("%d rounds agree" % rounds)
    return 0


sys.exit(main())
