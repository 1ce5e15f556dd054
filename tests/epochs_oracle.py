#!/usr/bin/env python3
"""Frames from one supervised job to another over a socket, under fire: each row once.

    tests/epochs_oracle.py [--seed N] [--seconds S] [--keep]

Two jobs: one sends bids over a socket, the other keeps them in a spool and writes them out.  Meanwhile
stages and supervisors of both are killed (-9) and started again, the sender's with another parallelism;
and whoever carries the bytes between them cuts its connections.  In the end the rows that have come out
must be those that an undisturbed pipeline writes, as a multiset; and the windows that were closed must
be its windows.  In some rounds the sender listens."""
import argparse
import collections
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(HERE, "../build/bin")))
SLOW = 3 if "san" in BIN else 1
ENV = dict(os.environ, PATH=BIN + ":" + os.environ["PATH"], LC_ALL="C")
ENV.pop("XDG_STATE_HOME", None)

ROWS = "smap 'auction, bidder, price, dateTime'"
WINDOWS = "swindow --tumble 200ms -k auction 'count(*) as n, sum(price) as total'"


class Carrier:
    """Carries bytes between a port of its own and another, and cuts what it carries."""

    def __init__(self, port):
        self.port, self.pairs, self.lock, self.cuts = port, [], threading.Lock(), 0
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen()
        self.own = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.server.accept()
            except OSError:
                return
            try:
                b = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                a.close()
                continue
            with self.lock:
                self.pairs.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.carry, args=(x, y), daemon=True).start()

    def carry(self, x, y):
        try:
            while data := x.recv(1 << 16):
                y.sendall(data)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (x, y):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.cuts += 1

    def stop(self):
        self.server.close()
        self.cut()


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


class Side:
    """A job and its supervisor, which is started again until it has ended."""

    def __init__(self, name, text, directory, parallelism=lambda: 1):
        self.directory, self.name, self.starts, self.kills = directory, name, 0, 0
        self.parallelism = parallelism
        with open(os.path.join(directory, name + ".sh"), "w") as f:
            f.write(text + "\n")
        self.process = None
        self.start()

    def start(self):
        self.starts += 1
        self.process = subprocess.Popen(
            ["runnel", "-q", "-p", str(self.parallelism()), "--restart", "1000/3s", "--checkpoint", "100ms", "--state",
             self.name + "-state", self.name + ".sh"], cwd=self.directory, env=ENV, stdin=subprocess.DEVNULL,
            stderr=open(os.path.join(self.directory, self.name + ".log"), "a"))

    def kill_stage(self, rng):
        pids = children(self.process.pid)
        if pids:
            kill(rng.choice(pids))
            self.kills += 1

    def kill_all(self):
        if self.process.poll() is None:
            kill(self.process.pid)
            self.process.wait()
            self.kills += 1
            self.start()

    def alive(self):
        """Whether it runs; a stage that was killed before the job had begun ends it, to be started again."""
        if self.process.poll() == 5 and "before it said what it is" in self.log().splitlines()[-1]:
            self.start()
        return self.process.poll() is None

    def wait(self, seconds):
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            time.sleep(0.02)
        return self.process.poll()

    def log(self):
        with open(os.path.join(self.directory, self.name + ".log")) as f:
            return f.read()


def lines_of(directory):
    found = collections.Counter()
    for path in glob.glob(os.path.join(directory, "part-*")):
        with open(path) as f:
            found.update(f.read().splitlines())
    return found


def pipeline(text, directory):
    done = subprocess.run(["bash", "-c", text], cwd=directory, env=ENV, stdout=subprocess.PIPE, text=True, check=True)
    return collections.Counter(done.stdout.splitlines())


def closed(lines, events):
    """Those of windows that surely were: nobody says that no other sender comes, so they close by the last watermark
    before the end, which is at most a batch of each of three subtasks behind; 10,000 events are a second."""
    until = (events - 3 * 8192) / 10000
    return collections.Counter({x: n for x, n in lines.items() if float(x.split(",")[2][17:-1]) <= until})


def fail(message, *sides):
    print(message)
    for side in sides:
        print(f"--- {side.name}\n{side.log()[-3000:]}")
    return False


def play(rng, directory, length):
    """A round; whether it came out as it must."""
    rate = 20000
    events = int(rate * length / SLOW)
    rate = int(rate / SLOW)
    bids = f"ssource 'nexmark:bid?events={events}'"
    windows, listens = rng.random() < 0.5, rng.random() < 0.3
    pack = rng.choice(["", " --pack lz4", " --pack zstd"])
    tail = WINDOWS if windows else ROWS
    port = free_port()
    carrier = Carrier(port)
    if listens:
        sender, receiver = f"tcp-listen://:{port}", f"tcp://127.0.0.1:{carrier.own}"
    else:
        sender, receiver = f"tcp://127.0.0.1:{carrier.own}", f"tcp-listen://:{port}"
    wide = (lambda: 1) if listens else (lambda: rng.choice([1, 2, 3]))
    takes = Side("in", f"ssource -f frames --spool kept {receiver} | {tail} | ssink -f csv --header no out/", directory)
    sends = Side("out", f"{bids} --rate {rate} -d 0s | {ROWS} | ssink -f frames{pack} {sender}", directory, wide)
    sides = (sends, takes)
    until = time.monotonic() + length * 0.8
    while time.monotonic() < until and sends.alive():
        time.sleep(rng.random() * 0.5 * SLOW)
        what = rng.random()
        side = rng.choice(sides)
        if what < 0.5:
            side.kill_stage(rng)
        elif what < 0.75:
            side.kill_all()
        else:
            carrier.cut()
    if sends.wait(60 * SLOW) is None:
        return fail("the sender doesn't come to its end", *sides)
    if sends.process.returncode:
        return fail(f"the sender ended with {sends.process.returncode}", *sides)
    wanted = pipeline(f"{bids} -d 0s | {ROWS} | {tail} | ssink -f csv --header no", directory)
    out = os.path.join(directory, "out")
    give_up = time.monotonic() + 20 * SLOW
    must = closed(wanted, events) if windows else wanted
    while sum(lines_of(out).values()) < sum(must.values()) and time.monotonic() < give_up and takes.alive():
        time.sleep(0.1)
    time.sleep(0.5 * SLOW)
    takes.process.send_signal(signal.SIGTERM)
    if takes.wait(30 * SLOW) is None:
        kill(takes.process.pid)
        return fail("the receiver doesn't stop", *sides)
    carrier.stop()
    have = lines_of(out)
    more, less = have - wanted, must - have
    if more or less:
        return fail(f"{sum(more.values())} lines too many, {sum(less.values())} too few of {sum(wanted.values())}: "
                    f"{list(more)[:3]} {list(less)[:3]} (windows {windows}, listens {listens})", *sides)
    print(f"{sum(have.values())} lines; {sends.kills}+{takes.kills} kills, {carrier.cuts} connections cut, "
          f"{sends.starts}+{takes.starts} starts")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--length", type=float, default=5)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    print("seed", args.seed)
    rng = random.Random(args.seed)
    until, good = time.monotonic() + args.seconds, True
    while good and time.monotonic() < until:
        directory = tempfile.mkdtemp(prefix="runnel-epochs-")
        good = play(rng, directory, args.length)
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(directory)
    sys.exit(0 if good else 1)


main()
