"""Avro in a hundred lines, by its specification and nothing else: what the tests compare with.

Values as fastavro has them, but logical types are left as what they are written as: a date is its days, a
decimal its bytes."""
import io
import json
import struct
import zlib


def plain(schema, names):
    """The schema with names looked up."""
    return names[schema] if isinstance(schema, str) and schema in names else schema


def learn(schema, names):
    if isinstance(schema, list):
        for branch in schema:
            learn(branch, names)
    elif isinstance(schema, dict):
        if "name" in schema:
            names[schema["name"]] = schema
        for inside in [schema.get("items"), schema.get("values")] + [f["type"] for f in schema.get("fields", [])]:
            if inside is not None:
                learn(inside, names)
    return names


def put_long(out, v):
    u = (v << 1) ^ (v >> 63)
    u &= (1 << 64) - 1
    while u > 0x7f:
        out.write(bytes([u & 0x7f | 0x80]))
        u >>= 7
    out.write(bytes([u]))


def take_long(f):
    shift = u = 0
    while True:
        byte = f.read(1)
        if not byte:
            raise EOFError
        u |= (byte[0] & 0x7f) << shift
        if not byte[0] & 0x80:
            return (u >> 1) ^ -(u & 1)
        shift += 7


def put_run(out, b):
    put_long(out, len(b))
    out.write(b)


def take_run(f):
    return take(f, take_long(f))


def take(f, n):
    got = f.read(n)
    if len(got) != n:
        raise EOFError
    return got


class Branch:
    """A value with the branch of a union that it is of."""

    def __init__(self, branch, value):
        self.branch, self.value = branch, value


def put(out, schema, v, names, rng):
    schema = plain(schema, names)
    if isinstance(schema, list):
        put_long(out, v.branch)
        return put(out, schema[v.branch], v.value, names, rng)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (dict, list)):
        return put(out, kind, v, names, rng)
    if kind == "null":
        return
    if kind == "boolean":
        out.write(b"\1" if v else b"\0")
    elif kind in ("int", "long"):
        put_long(out, v)
    elif kind == "float":
        out.write(struct.pack("<f", v))
    elif kind == "double":
        out.write(struct.pack("<d", v))
    elif kind == "bytes":
        put_run(out, v)
    elif kind == "string":
        put_run(out, v.encode())
    elif kind == "fixed":
        out.write(v)
    elif kind == "enum":
        put_long(out, schema["symbols"].index(v))
    elif kind == "record":
        for field in schema["fields"]:
            put(out, field["type"], v[field["name"]], names, rng)
    else:
        put_items(out, schema, list(v.items()) if kind == "map" else v, names, rng)


def put_items(out, schema, items, names, rng):
    """In blocks of any size, some of which say how long they are."""
    while items:
        n = rng.randint(1, len(items))
        block = io.BytesIO()
        for item in items[:n]:
            if schema["type"] == "map":
                put_run(block, item[0].encode())
                put(block, schema["values"], item[1], names, rng)
            else:
                put(block, schema["items"], item, names, rng)
        put_long(out, -n if n % 2 else n)
        if n % 2:
            put_long(out, len(block.getvalue()))
        out.write(block.getvalue())
        items = items[n:]
    put_long(out, 0)


def get(f, schema, names):
    schema = plain(schema, names)
    if isinstance(schema, list):
        return get(f, schema[take_long(f)], names)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (dict, list)):
        return get(f, kind, names)
    if kind == "null":
        return None
    if kind == "boolean":
        return take(f, 1) == b"\1"
    if kind in ("int", "long"):
        return take_long(f)
    if kind == "float":
        return struct.unpack("<f", take(f, 4))[0]
    if kind == "double":
        return struct.unpack("<d", take(f, 8))[0]
    if kind == "bytes":
        return take_run(f)
    if kind == "string":
        return take_run(f).decode()
    if kind == "fixed":
        return take(f, schema["size"])
    if kind == "enum":
        return schema["symbols"][take_long(f)]
    if kind == "record":
        return {field["name"]: get(f, field["type"], names) for field in schema["fields"]}
    items = []
    while True:
        n = take_long(f)
        if n == 0:
            return dict(items) if kind == "map" else items
        if n < 0:
            take_long(f)
        for _ in range(abs(n)):
            items.append((take_run(f).decode(), get(f, schema["values"], names)) if kind == "map"
                         else get(f, schema["items"], names))


def write_file(path, schema, rows, rng, codec="null"):
    names = learn(schema, {})
    sync = bytes(rng.randrange(256) for _ in range(16))
    with open(path, "wb") as f:
        f.write(b"Obj\1")
        put_long(f, 2)
        for key, value in (("avro.codec", codec), ("avro.schema", json.dumps(schema))):
            put_run(f, key.encode())
            put_run(f, value.encode())
        put_long(f, 0)
        f.write(sync)
        while rows:
            n = rng.randint(1, max(1, len(rows)))
            block = io.BytesIO()
            for row in rows[:n]:
                put(block, schema, row, names, rng)
            packed = block.getvalue()
            if codec == "deflate":
                z = zlib.compressobj(wbits=-15)
                packed = z.compress(packed) + z.flush()
            put_long(f, n)
            put_run(f, packed)
            f.write(sync)
            rows = rows[n:]


def read_file(data):
    """(schema, codec, rows, marker)"""
    f = io.BytesIO(data)
    assert take(f, 4) == b"Obj\1"
    meta = {}
    while (n := take_long(f)) != 0:
        for _ in range(n):
            key = take_run(f)
            meta[key.decode()] = take_run(f)
    sync = take(f, 16)
    schema, codec = json.loads(meta["avro.schema"]), meta.get("avro.codec", b"null").decode()
    names, rows = learn(schema, {}), []
    while f.tell() < len(data):
        n = take_long(f)
        block = take_run(f)
        if codec == "deflate":
            block = zlib.decompress(block, wbits=-15)
        b = io.BytesIO(block)
        rows += [get(b, schema, names) for _ in range(n)]
        assert b.tell() == len(block)
        assert take(f, 16) == sync
    return schema, codec, rows, sync
