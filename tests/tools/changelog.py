#!/usr/bin/env python3
"""A changelog as a frame stream, made without any of the project's own code.

    tests/tools/changelog.py COLUMNS [KEYS] < script        COLUMNS: "k int, v string"  KEYS: "k"

Every line of the script is an op and the row's values as JSON ("+I 1 \\"x\\""), or sleep SECONDS; rows
between two sleeps are one frame, a -U and its +U always are."""
import json
import struct
import sys
import time

import msgpack

OPS = {"+I": 0, "-U": 1, "+U": 2, "-D": 3}


def frame(kind, body):
    raw = msgpack.packb(body)
    return b"\xc9" + struct.pack(">IB", len(raw), kind) + raw


def values(text):
    decoder, at, out = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        out.append(value)
        while at < len(text) and text[at] == " ":
            at += 1
    return out


def main():
    columns = [c.split() for c in sys.argv[1].split(", ")]
    keys = sys.argv[2].split(",") if len(sys.argv) > 2 else []
    out, rows, sent = sys.stdout.buffer, [], 0

    def flush():
        if rows:
            out.write(frame(3, [1, rows]))
            rows.clear()
        out.flush()

    out.write(frame(0, ["runnel", 1, {"endian": "little", "stage": "test", "bounded": False}]))
    out.write(frame(1, [1, columns, {"changelog": True, "key": [
        [c[0] for c in columns].index(k) for k in keys]}]))
    for line in sys.stdin:
        op, _, rest = line.strip().partition(" ")
        if op == "sleep":
            flush()
            time.sleep(float(rest))
            continue
        rows.append(values(rest) + [OPS[op]])
        sent += 1
    flush()
    out.write(frame(6, [sent]))
    out.flush()


main()
