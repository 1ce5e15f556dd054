"""A program on a terminal: a pty, and what a person would see on its screen.

    s = screen.Screen(24, 80); s.run("ssink < x.frames", env={}); s.until(lambda: "n" in s.text())

It knows the control sequences that the project uses, and fails on any other."""
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

SEQUENCE = re.compile(rb"\x1b\[(\??)([0-9;]*)([A-Za-z])")


class Screen:
    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines, self.scrolled = [""] * rows, []
        self.y = self.x = 0
        self.wraps, self.bold, self.drawings = True, 0, 0
        self.raw, self.pending = b"", b""
        self.pid = self.fd = self.status = None

    def run(self, command, env=None):
        go_r, go_w = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.read(go_r, 1)  # the terminal has its size
            os.environ["TERM"] = "xterm"
            os.environ.pop("NO_COLOR", None)
            os.environ.update(env or {})
            os.execvp("bash", ["bash", "-c", command])
        self.resize(self.rows, self.columns)
        os.write(go_w, b"x")
        os.close(go_r)
        os.close(go_w)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        while len(self.lines) > rows:
            self.scrolled.append(self.lines.pop(0))
            self.y = max(0, self.y - 1)
        self.lines += [""] * (rows - len(self.lines))
        self.lines = [line[:columns] for line in self.lines]
        self.rows, self.columns = rows, columns

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def everything(self):
        return "\n".join(line.rstrip() for line in self.scrolled + self.lines).rstrip("\n")

    def down(self):
        if self.y + 1 < self.rows:
            self.y += 1
        else:
            self.scrolled.append(self.lines.pop(0))
            self.lines.append("")

    def put(self, character):
        if self.x >= self.columns:
            if not self.wraps:
                return
            self.x = 0
            self.down()
        line = self.lines[self.y].ljust(self.x)
        self.lines[self.y] = line[:self.x] + character + line[self.x + 1:]
        self.x += 1

    def control(self, private, numbers, letter):
        n = int(numbers or 0)
        if private:
            assert (n, letter) in ((7, "l"), (7, "h"), (25, "l"), (25, "h")), (n, letter)
            self.wraps = self.wraps if n != 7 else letter == "h"
            self.drawings += (n, letter) == (7, "l")
        elif letter == "A":
            self.y = max(0, self.y - n)
        elif letter == "H":
            assert not numbers
            self.y = self.x = 0
        elif letter == "K":
            self.lines[self.y] = self.lines[self.y][:self.x]
        elif letter == "J" and n == 2:
            self.lines = [""] * self.rows
        elif letter == "J":
            self.lines[self.y] = self.lines[self.y][:self.x]
            self.lines[self.y + 1:] = [""] * (self.rows - self.y - 1)
        elif letter == "m":
            self.bold += n == 1
        else:
            raise AssertionError("unknown sequence %s%s" % (numbers, letter))

    def feed(self, data):
        self.raw += data
        data = self.pending + data
        at = 0
        while at < len(data):
            c = data[at]
            if c == 0x1b:
                m = SEQUENCE.match(data, at)
                if not m:
                    assert len(data) - at < 12, data[at:at + 12]
                    break
                self.control(bool(m[1]), m[2].decode(), m[3].decode())
                at = m.end()
                continue
            n = 1 if c < 0x80 else 2 if c < 0xe0 else 3 if c < 0xf0 else 4
            if len(data) - at < n:
                break
            if c == 10:
                self.down()
            elif c == 13:
                self.x = 0
            else:
                assert c >= 0x20, c
                self.put(data[at:at + n].decode())
            at += n
        self.pending = data[at:]

    def read(self, seconds):
        """Whether more came; at its end the status is there."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data and self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.feed(data)
        return bool(data)

    def until(self, holds, seconds=20):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came to that:\n" + self.text()
            if not self.read(0.05) and self.status is not None:
                assert holds(), "it ended before:\n" + self.everything()

    def finish(self, seconds=20):
        self.until(lambda: self.status is not None, seconds)
        return self.everything()
