#!/usr/bin/env python3
"""Random messages through a topic of Kafka and ssource, beside Python's json module: which of them are records, with
which values, and which are malformed, told with their offset.

  tests/messages_kafka.py BROKERS TOPIC SSOURCE SSINK [ROUNDS]      $SEED runs one again
"""
import json
import os
import random
import subprocess
import sys

SEPARATOR = "\x01"  # stands in no text that JSON takes
MESSAGES = 400
STRINGS = ["", "x", "a\nb", 'q"q', "\u00e9\u4e2d", "{", "}\n{", "\\", "1", "\t"]


def space(rng):
    return "".join(rng.choice([" ", "\n", "\t", "\r\n"]) for _ in range(rng.choice([0, 0, 0, 1, 2])))


def text_of(rng, value):
    """JSON with space in all places where it may stand."""
    if isinstance(value, dict):
        inside = ("," + space(rng)).join(
            json.dumps(k) + space(rng) + ":" + space(rng) + text_of(rng, v) + space(rng) for k, v in value.items())
        return "{" + space(rng) + inside + "}"
    if isinstance(value, list):
        return "[" + space(rng) + ("," + space(rng)).join(text_of(rng, v) for v in value) + space(rng) + "]"
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def record(rng):
    r = {"id": rng.randrange(-10**6, 10**6)}
    if rng.random() < 0.9:
        r["s"] = rng.choice(STRINGS + [None])
    if rng.random() < 0.7:
        r["x"] = rng.choice([1, 2.5, -1e3, None])
    if rng.random() < 0.5:
        r["any"] = rng.choice([[], [{}, {"k": [1, "}\n{"]}], {"a": {"b": None}}, "t", True])
    return r


def spoil(rng, text):
    """Something that is likely no JSON any more."""
    at = rng.randrange(len(text))
    return rng.choice([text[:at], text[:at] + rng.choice("{}[]\",:\nx") + text[at:], text[:at] + text[at + 1:],
                       '{"id":"x"}', '{"id":1,"s":"a' + "\n" + 'b"}', '[{"id":1}]', "null", "7"])


def records_of(text):
    """The rows of a message, None if it is malformed."""
    decoder = json.JSONDecoder()
    rows, at = [], 0
    space_bytes = " \n\t\r"
    while at < len(text):
        while at < len(text) and text[at] in space_bytes:
            at += 1
        if at == len(text):
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            return None
        # Objects are parted by a newline.
        if rows and "\n" not in text[last:at]:
            return None
        if not fits(value):
            return None
        rows.append(value)
        at = last = end
    return rows or None


def fits(v):
    if not isinstance(v, dict) or len(v) != len(dict(v)):
        return False
    number = v.get("id")
    if isinstance(number, str):
        try:
            int(number)
        except ValueError:
            return False
        return number.lstrip("-").isdigit()
    if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float)) or number != int(number)):
        return False
    return not isinstance(v.get("s"), (dict, list)) and (
        v.get("x") is None or (isinstance(v["x"], (int, float)) and not isinstance(v["x"], bool)))


def message(rng):
    rows = [record(rng) for _ in range(rng.choice([1, 1, 1, 1, 2, 3]))]
    text = (space(rng) + "\n" + space(rng)).join(text_of(rng, r) for r in rows)
    if rng.random() < 0.08:
        return spoil(rng, text)
    return space(rng) + text + space(rng)


def is_settled(text):
    """What both are asked: bytes that neither reader looks at may be anything."""
    return SEPARATOR not in text and text != ""


def run_round(rng, brokers, topic, ssource, ssink):
    messages = [m for m in (message(rng) for _ in range(MESSAGES)) if is_settled(m)]
    subprocess.run(["kcat", "-b", brokers, "-P", "-t", topic, "-p", "0", "-D", SEPARATOR],
                   input=SEPARATOR.join(messages).encode(), check=True, stderr=subprocess.DEVNULL)
    bad = topic + ".bad"
    if os.path.exists(bad):
        os.remove(bad)
    frames = subprocess.run(
        [ssource, f"kafka://{brokers}/{topic}", "--until", "end", "-f", "ndjson", "--bad", bad, "-q", "--meta", "offset",
         "-s", "id int, s string, x float, any any"], stdout=subprocess.PIPE, check=True).stdout
    out = subprocess.run([ssink, "-f", "ndjson"], input=frames, stdout=subprocess.PIPE, check=True).stdout
    got = [json.loads(line) for line in out.splitlines()]
    refused = [int(json.loads(line)["input"].split("@")[1]) for line in open(bad)]
    return messages, got, refused


def expected(messages, first):
    rows, refused = [], []
    for offset, text in enumerate(messages, first):
        found = records_of(text)
        if found is None:
            refused.append(offset)
            continue
        for r in found:
            number = r.get("id")
            s = r.get("s")
            rows.append({"offset": offset, "id": None if number is None else int(number),
                         "s": s if s is None or isinstance(s, str) else json.dumps(s), "x": r.get("x"),
                         "any": r.get("any")})
    return rows, refused


def main():
    brokers, topic, ssource, ssink = sys.argv[1:5]
    rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    seed = int(os.environ.get("SEED", random.randrange(2**31)))
    print("seed", seed)
    rng = random.Random(seed)
    written = []
    for _ in range(rounds):
        messages, got, refused = run_round(rng, brokers, topic, ssource, ssink)
        written += messages
        rows, malformed = expected(written, 0)
        for a, b in zip(got, rows):
            assert a == b, f"got {a}, expected {b}: {written[b['offset']]!r}"
        assert len(got) == len(rows), (len(got), len(rows))
        odd = set(refused) ^ set(malformed)
        assert not odd, [(o, written[o]) for o in sorted(odd)[:3]]
        assert refused == malformed
    print(f"{len(written)} messages, {len(rows)} rows, {len(malformed)} malformed")


if __name__ == "__main__":
    main()
