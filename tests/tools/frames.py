"""Frame streams for tests, decoded without any of the project's own code: python3 and msgpack.

    import frames;  s = frames.read(open("x.frames", "rb"))
    s.names, s.types, s.rows, s.watermarks, s.time, s.kinds; of a changelog s.ops and s.table()
    write(file, names, types, rows, ...), Writer: a stream of plain rows, as a script would write it

As a program: prints rows as JSON lists, one a line; --kinds prints the kinds of the frames.
"""

import collections
import json
import struct
import sys

import msgpack

KINDS = {0: "HELLO", 1: "SCHEMA", 2: "BATCH", 3: "ROWS", 4: "WATERMARK", 5: "BARRIER", 6: "END",
         7: "STATUS", 8: "MARKER", 9: "ERROR", 10: "TICK", 11: "PACKED", 12: "EPOCH"}
FIXED = {"bool": "B", "int": "q", "float": "d", "timestamp": "q", "duration": "q", "date": "i"}


class Stream:
    def __init__(self):
        self.schemas, self.kinds, self.rows, self.watermarks = {}, [], [], []
        self.names, self.types, self.time, self.end, self.error = [], [], None, None, None
        self.changelogs, self.ops, self.keys = {}, [], []

    def table(self):
        """The rows that a changelog leaves, as tuples, sorted by their text; checks its rules."""
        left = collections.Counter()
        for i, (op, row) in enumerate(zip(self.ops, self.rows)):
            row = tuple(row)
            if op == 1:
                assert self.ops[i + 1] == 2, "half an update"
                assert list(row) != self.rows[i + 1], "an update of nothing"
            left[row] += 1 if op in (0, 2) else -1
            assert left[row] >= 0, "%r is taken back and isn't there" % (row,)
        return sorted(left.elements(), key=repr)


def column(kind, rows, buffers):
    valid = buffers.pop(0)
    if kind in FIXED:
        code = FIXED[kind]
        values = list(struct.unpack("<%d%s" % (rows, code), buffers.pop(0)))
        if kind == "bool":
            values = [bool(v) for v in values]
    elif kind.startswith("decimal"):
        data = buffers.pop(0)
        values = [int.from_bytes(data[i * 16:i * 16 + 16], "little", signed=True)
                  for i in range(rows)]
    else:
        offsets = struct.unpack("<%dI" % (rows + 1), buffers.pop(0))
        data = buffers.pop(0)
        values = [data[offsets[i]:offsets[i + 1]] for i in range(rows)]
        if kind == "string":
            values = [v.decode("utf-8") for v in values]
    if valid:
        values = [v if valid[i // 8] >> (i % 8) & 1 else None for i, v in enumerate(values)]
    return values


def batch(stream, body):
    items = [x for x in msgpack.unpackb(body, raw=False) if x is not None]
    schema, rows, buffers = stream.schemas[items[0]], items[1], items[2:]
    columns = [column(kind, rows, buffers) for _, kind in schema]
    stream.rows.extend(list(r) for r in zip(*columns))
    stream.ops.extend(buffers.pop(0) if stream.changelogs[items[0]] else [0] * rows)


class Writer:
    """A stream as a script would write it, piece by piece.  ops: whether it is a changelog."""

    def __init__(self, file, names, types, ops=False, keys=(), bounded=True, time=None):
        self.file, self.ops, self.sent = file, ops, 0
        extra = {"changelog": ops}
        if keys:
            extra["key"] = list(keys)
        if time:
            extra["time"] = [time, 0]
        self.frame(0, ["runnel", 1, {"endian": "little", "stage": "script", "bounded": bounded}])
        self.frame(1, [1, [list(f) for f in zip(names, types)], extra])

    def frame(self, kind, value):
        self.file.write(msgpack.packb(msgpack.ExtType(kind, msgpack.packb(value))))
        self.file.flush()

    def rows(self, rows):
        """In a changelog each row ends with its op."""
        self.frame(3, [1, [list(r) for r in rows]])
        self.sent += len(rows)

    def watermark(self, us):
        self.frame(4, us)

    def end(self):
        self.frame(6, [self.sent])
        self.file.close()


def write(file, names, types, rows, ops=None, keys=(), bounded=True, time=None):
    """A whole stream; ops: of a changelog, by row; time: the name of the event-time column."""
    w = Writer(file, names, types, ops is not None, keys, bounded, time)
    rows = [list(r) for r in rows] if ops is None else [list(r) + [o] for r, o in zip(rows, ops)]
    for first in range(0, len(rows), 1000):
        w.rows(rows[first:first + 1000])
    w.end()


def read(file):
    stream = Stream()
    while True:
        head = file.read(6)
        if not head:
            return stream
        assert head[0] == 0xC9 and len(head) == 6, head
        length, kind = struct.unpack(">IB", head[1:])
        body = file.read(length)
        assert len(body) == length, "cut short"
        stream.kinds.append(KINDS[kind])
        if kind == 1:
            schema_id, fields, extra = msgpack.unpackb(body, raw=False)
            stream.schemas[schema_id] = fields
            stream.names, stream.types = [f[0] for f in fields], [f[1] for f in fields]
            stream.time = extra.get("time")
            stream.keys = extra.get("key", [])
            stream.changelogs[schema_id] = extra.get("changelog", False)
        elif kind == 2:
            batch(stream, body)
        elif kind == 4:
            stream.watermarks.append((len(stream.rows), msgpack.unpackb(body)))
        elif kind == 6:
            stream.end = msgpack.unpackb(body)[0]
        elif kind == 9:
            stream.error = msgpack.unpackb(body, raw=False)


def main():
    stream = read(sys.stdin.buffer)
    if "--kinds" in sys.argv:
        print(" ".join(stream.kinds))
        return
    if "--schema" in sys.argv:
        print(", ".join("%s %s" % x for x in zip(stream.names, stream.types)))
        return
    if "--watermarks" in sys.argv:
        print("\n".join("%d %d" % x for x in stream.watermarks))
        return
    for row in stream.rows:
        print(json.dumps(row, ensure_ascii=False, default=repr))


if __name__ == "__main__":
    main()
