#!/usr/bin/env python3
"""tally.py COLUMN: each value of COLUMN and how often it has come so far.  A stage with state, in a
plain pipe and under runnel; see runnel-frames(5) and runnel-stage(5)."""
import os, select, struct, sys
import msgpack
from keygroups import key_group, key_range

column, types, counts, rows = sys.argv[1], {}, {}, 0   # counts: value -> [key group, count]
line, inn, out = int(os.environ.get("RUNNEL_LINE", -1)), 0, 1


def pack(kind, body):
    body = msgpack.packb(body)
    return struct.pack(">BIB", 0xc9, len(body), kind) + body


def read(fd, n):   # meanwhile the supervisor is heard
    data = b""
    while len(data) < n:
        if line in select.select([fd] + [line] * (line >= 0), [], [])[0] and fd != line:
            order(*frame(line))
        elif more := os.read(fd, n - len(data)):
            data += more
        else:
            sys.exit(5 if fd == line else 3)
    return data


def frame(fd):
    head = read(fd, 6)
    length, kind = struct.unpack(">xIB", head)
    return kind, msgpack.unpackb(read(fd, length), strict_map_key=False)


def send(fd, data):
    while data:
        ready = select.select([line] * (line >= 0 and fd != line), [fd], [])
        if ready[0]:
            order(*frame(line))
        elif ready[1]:
            data = data[os.write(fd, data[:4096]):]


def order(kind, body):
    if kind == 0x24:    # STOP
        sys.exit(0)
    if kind == 0x25:    # PING -> PONG
        send(line, pack(0x35, [body[0], rows, rows, 0, 0, -1 << 63, 0, 0, 0]))


def values(n, bins):   # those of COLUMN, int or string, in a BATCH
    for field, kind in types.items():
        valid, data = bins.pop(0), bins.pop(0)
        text = bins.pop(0) if kind in ("string", "bytes", "any") else None
        if field == column:
            at = struct.unpack("<%d%s" % (n + (kind == "string"), "I" if text is not None else "q"), data)
            for i in range(n):
                null = valid and not valid[i // 8] >> i % 8 & 1
                yield None if null else at[i] if text is None else text[at[i]:at[i + 1]].decode()


def snapshot(checkpoint):
    path = "%s/%d/%s.%d.frames" % (snapshots, checkpoint, name, subtask)
    state = [[g, k, n] for k, (g, n) in counts.items()]
    data = pack(0, ["runnel", 1, {"endian": "little", "stage": "tally", "bounded": True}])
    data += pack(1, [1, [["key_group", "int"], [column, types.get(column, "int")], ["n", "int"]], {"name": "counts"}])
    for i in range(0, len(state), 8192):
        data += pack(3, [1, state[i:i + 8192]])
    with open(path, "wb") as f:
        f.write(data + pack(6, [len(state)]))
        f.flush()
        os.fsync(f.fileno())
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    send(line, pack(0x31, [checkpoint, path, os.path.getsize(path), None, b"", 0]))


if line >= 0:
    send(line, pack(0x36, {"line": 1, "type": "tally", "inputs": 1, "outputs": 1, "spread": "keyed",
                           "keys": [['"%s"' % column]], "keeps": "a count per " + column}))
    plan = frame(line)[1]
    name, subtask, subtasks, inputs, outputs, restore, snapshots = plan[:7]
    mine = key_range(subtask, subtasks)
    for path in restore:
        with open(path, "rb") as f:
            while (got := frame(f.fileno()))[0] != 6:
                if got[0] == 1:
                    types = dict(got[1][1])
                elif got[0] == 3:
                    counts.update({k: [g, n] for g, k, n in got[1][1] if g in mine})
    send(line, pack(0x30, []))   # READY
    while plan[13]:              # only to be checked: until STOP
        order(*frame(line))
    inn, out = inputs[0][1], outputs[0][0][0]
while True:
    kind, body = frame(inn)
    if kind == 1:    # SCHEMA
        types = dict(body[1])
        body = [body[0], [[column, types[column]], ["n", "int"]], {}]
    elif kind == 2:  # BATCH -> ROWS
        kind, result = 3, []
        for value in values(body[1], [x for x in body[2:] if x is not None]):
            count = counts.setdefault(value, [key_group(value), 0])
            count[1] += 1
            result.append([value, count[1]])
        rows, body = rows + len(result), [body[0], result]
    elif kind == 6:  # END
        body = [rows]
    send(out, pack(kind, body))
    if kind == 5 and line >= 0:
        snapshot(body[0])
    if kind == 6:
        break
if line >= 0:
    send(line, pack(0x33, [rows]))   # FINISHED
while line < 0 and os.read(inn, 65536):
    pass
