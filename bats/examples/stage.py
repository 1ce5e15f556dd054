"""What a stage in Python needs: frames, and the line to a supervisor; see runnel-frames(5) and
runnel-stage(5).  For one input and one output, with msgpack and nothing else."""
import os, select, struct, sys
import msgpack

LINE = int(os.environ.pop("RUNNEL_LINE", -1))   # -1: a plain pipe
HELLO, SCHEMA, BATCH, ROWS, WATERMARK, BARRIER, END = range(7)
rows_in = rows_out = 0


def pack(kind, body):
    body = msgpack.packb(body)
    return struct.pack(">BIB", 0xc9, len(body), kind) + body


def read(fd, n):   # meanwhile the supervisor is heard
    data = b""
    while len(data) < n:
        if LINE in select.select([fd] + [LINE] * (LINE >= 0), [], [])[0] and fd != LINE:
            obey(*frame(LINE))
        elif more := os.read(fd, n - len(data)):
            data += more
        else:
            sys.exit(5 if fd == LINE else 3)
    return data


def frame(fd):
    length, kind = struct.unpack(">xIB", read(fd, 6))
    return kind, msgpack.unpackb(read(fd, length), strict_map_key=False)


def send(fd, data):   # likewise
    data = memoryview(data)
    while data:
        ready = select.select([LINE] * (LINE >= 0 and fd != LINE), [fd], [])
        if ready[0]:
            obey(*frame(LINE))
        elif ready[1]:
            data = data[os.write(fd, data[:4096]):]


def obey(kind, body):
    if kind == 0x24:   # STOP
        sys.exit(0)
    if kind == 0x25:   # PING, PONG
        send(LINE, pack(0x35, [body[0], rows_in, rows_out, 0, 0, -1 << 63, 0, 0, 0]))


def start(restore, **about):
    """Says what the stage is, hands the rows of former snapshots to restore(name, row) with the plan,
    and returns input, output and plan (None in a plain pipe)."""
    if LINE < 0:
        return 0, 1, None
    send(LINE, pack(0x36, dict(about, line=1, inputs=1, outputs=1)))
    plan = frame(LINE)[1]
    for path in plan[5]:
        with open(path, "rb") as f:
            while (got := frame(f.fileno()))[0] != END:
                for row in got[1][1] if got[0] == ROWS else ():
                    restore(plan, row)
    send(LINE, pack(0x30, []))   # READY
    while plan[13]:              # to be checked only: until STOP
        obey(*frame(LINE))
    return plan[3][0][1], plan[4][0][0][0], plan


def snapshot(plan, checkpoint, about, columns, rows):
    path = "%s/%d/%s.%d.frames" % (plan[6], checkpoint, plan[0], plan[1])
    data = [pack(HELLO, ["runnel", 1, {"endian": "little", "stage": about, "bounded": True}]),
            pack(SCHEMA, [1, columns, {"name": "state"}])]
    data += [pack(ROWS, [1, rows[i:i + 4096]]) for i in range(0, len(rows), 4096)]
    with open(path, "wb") as f:
        f.write(b"".join(data + [pack(END, [len(rows)])]))
        f.flush()
        os.fsync(f.fileno())
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    send(LINE, pack(0x31, [checkpoint, path, os.path.getsize(path), None, b"", 0]))   # ACK


def finished(rows, fd):
    if LINE >= 0:
        send(LINE, pack(0x33, [rows]))
    while LINE < 0 and os.read(fd, 65536):   # in a plain pipe: to the end of the input
        pass


def column(batch, types, name):
    """The values of a column (int, float, bool, timestamp, duration, date or string) of a BATCH."""
    codes = {"int": "q", "float": "d", "bool": "?", "timestamp": "q", "duration": "q", "date": "i"}
    n, bins = batch[1], [x for x in batch[2:] if x is not None]
    for field, kind in types:
        valid, data = bins.pop(0), bins.pop(0)
        text = bins.pop(0) if kind in ("string", "bytes", "any") else None
        if field != name:
            continue
        if text is None:
            values = list(struct.unpack("<%d%s" % (n, codes[kind]), data))
        else:
            at = struct.unpack("<%dI" % (n + 1), data)
            values = [text[a:b].decode() for a, b in zip(at, at[1:])]
        return [None if valid and not valid[i // 8] >> i % 8 & 1 else v for i, v in enumerate(values)]
