#!/usr/bin/env python3
"""tally.py COLUMN: each value of COLUMN, an int or a string, and how often it has come so far.

A stage with state, in a plain pipe and under runnel, where it may be killed, and go on from a savepoint
with another number of subtasks."""
import sys

import keygroups
import stage

name = sys.argv[1]
types, kind = [], "int"     # of the input's columns; of ours
counts, sent = {}, 0        # value -> [key group, count]


def restore(plan, row):     # the part of a former subtask's state that is ours now
    global kind
    group, value, count = row
    kind = "string" if isinstance(value, str) else kind
    if group in keygroups.key_range(plan[1], plan[2]):
        counts[value] = [group, count]


def tally(values):
    for value in values:
        if value not in counts:
            counts[value] = [keygroups.key_group(value), 0]
        counts[value][1] += 1
        yield [value, counts[value][1]]


fd, out, plan = stage.start(restore, type="tally", spread="keyed", keys=[['"%s"' % name]],
                            keeps="a count per " + name)
while True:
    frame, body = stage.frame(fd)
    if frame == stage.SCHEMA:
        types, kind = body[1], dict(body[1])[name]
        body = [body[0], [[name, kind], ["n", "int"]], {}]
    elif frame == stage.BATCH:
        rows = list(tally(stage.column(body, types, name)))
        sent += len(rows)
        stage.rows_in = stage.rows_out = sent
        frame, body = stage.ROWS, [body[0], rows]
    elif frame == stage.END:
        body = [sent]
    stage.send(out, stage.pack(frame, body))   # all others pass as they are
    if frame == stage.BARRIER and plan:
        state = [[group, value, n] for value, (group, n) in counts.items()]
        stage.snapshot(plan, body[0], "tally", [["key_group", "int"], [name, kind], ["n", "int"]], state)
    if frame == stage.END:
        break
stage.finished(sent, fd)
