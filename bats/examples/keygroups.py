"""Key groups, as runnel-stage(5) has them: XXH64 of a key's canonical bytes, the low 7 bits."""
import struct

P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5, M = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5, (1 << 64) - 1


def rotate(x, by):
    return (x << by | x >> (64 - by)) & M


def step(lane, word):
    return rotate(lane + word * P2 & M, 31) * P1 & M


def xxh64(data):
    at, h = 0, P5
    if len(data) >= 32:
        lanes = [P1 + P2 & M, P2, 0, -P1 & M]
        for at in range(0, len(data) - 31, 32):
            lanes = [step(v, w) for v, w in zip(lanes, struct.unpack_from("<4Q", data, at))]
        at += 32
        h = sum(rotate(v, by) for v, by in zip(lanes, (1, 7, 12, 18))) & M
        for v in lanes:
            h = ((h ^ step(0, v)) * P1 + P4) & M
    h = h + len(data) & M
    while len(data) - at >= 8:
        h = (rotate(h ^ step(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M
        at += 8
    if len(data) - at >= 4:
        h = (rotate(h ^ struct.unpack_from("<I", data, at)[0] * P1 & M, 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ byte * P5 & M, 11) * P1 & M
    h = (h ^ h >> 33) * P2 & M
    h = (h ^ h >> 29) * P3 & M
    return h ^ h >> 32


def canonical(value):
    if value is None:
        return b"\0"
    if isinstance(value, bool):
        return struct.pack("<BB", 1, value)
    if isinstance(value, int):
        return struct.pack("<Bq", 2, value)
    if isinstance(value, float):
        if value != value:
            return b"\3" + struct.pack("<Q", 0x7ff8000000000000)
        return struct.pack("<Bd", 3, value + 0.0)
    text = value.encode() if isinstance(value, str) else value
    return struct.pack("<BI", 8 if isinstance(value, str) else 9, len(text)) + text


def key_group(*key):
    return xxh64(b"".join(map(canonical, key))) & 127


def key_range(subtask, subtasks):
    return range(-(-subtask * 128 // subtasks), -(-(subtask + 1) * 128 // subtasks))
