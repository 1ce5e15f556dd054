"""The golden streams that scripts write: tests/tools/golden_frames.py DIRECTORY.  Made once; they stay
in tests/data/frames for ever, and this tells how.  Needs msgpack, zstd and lz4's command."""

import struct
import subprocess
import sys

import msgpack

ext = lambda kind, body: msgpack.packb(msgpack.ExtType(kind, body))
pack = msgpack.packb
hello = ext(0, pack(["runnel", 1, {"endian": "little", "stage": "script", "new": [1]}]))
schema = ext(1, pack([4, [["a", "int"], ["s", "string"], ["v", "any"], ["d", "decimal(5,1)"],
                          ["t", "timestamp"]], {"time": ["t", 0]}]))
rows = ext(3, pack([4, [[1, "x", {"k": [1, None]}, "2.5", 5], [None, None, None, None,
                        msgpack.Timestamp(1, 500000000)], [-70000, "é" * 40, "text", 3, 0]]]))
column = lambda code, *values: struct.pack("<%d%s" % (len(values), code), *values)
batch = ext(2, pack([4, 2, b"\x01", column("q", 7, 0), b"", column("I", 0, 1, 3), b"abc", None, b"",
                     column("I", 0, 1, 2), b"\xc3\x07", b"", struct.pack("<qqqq", 15, 0, -15, -1),
                     None, None, b"", column("q", 1, 2)]))
skipped = ext(0x50, b"from later")
watermark = ext(4, pack(1))
end = ext(6, pack([5]))


def compressed(command, raw):
    return subprocess.run(command, input=raw, capture_output=True, check=True).stdout


def write(name, *frames):
    with open("%s/%s.frames" % (sys.argv[1], name), "wb") as f:
        f.write(b"".join(frames))


write("v1-script", hello, schema, skipped, rows, batch, watermark, end)
raw = rows + batch
write("v1-zstd", hello, schema, ext(11, pack(["zstd", len(raw), compressed(["zstd", "-q"], raw)])), watermark, end)
# lz4's block format: all of it literals
long = len(raw) - 15
block = b"\xf0" + b"\xff" * (long // 255) + bytes([long % 255]) + raw
write("v1-lz4", hello, schema, ext(11, pack(["lz4", len(raw), block])), watermark, end)
