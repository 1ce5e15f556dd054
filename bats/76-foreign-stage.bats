#!/usr/bin/env bats
# Stages in other languages: bats/examples/tally.py in a plain pipe, under runnel, killed, at another
# parallelism; and programs that are none, or do it wrong.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/state NO_COLOR=1 LC_ALL=C PYTHONDONTWRITEBYTECODE=1
	cp "$root"/bats/examples/*.py .
	printf 'a,b\n1,x\n2,y\n3,x\n4,\n5,y\n6,x\n' >k.csv
	bids="ssource 'nexmark:bid?events=40000' --rate 15000 | smap 'auction'"
	started=
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

# start OPTIONS: job.sh in the background.
start() {
	runnel --state s --checkpoint 200ms "$@" job.sh >>log 2>&1 3>&- &
	job=$!
	started="$started $job"
}

ends() { # ends STATUS
	local status=0
	wait "$job" || status=$?
	cat log
	[ "$status" -eq "$1" ]
}

within() {
	for _ in $(seq 200); do
		"$@" && return 0
		sleep 0.05
	done
	cat log
	echo "never: $*"
	return 1
}

has_checkpoint() {
	ls s/checkpoints/*/manifest-* >/dev/null 2>&1
}

# What tally gives of any order of the same rows.
want() {
	ssource 'nexmark:bid?events=40000' | smap auction | ./tally.py auction | ssink -f csv | sort >want
}

# refused TEXT STAGE [OPTION...]: runnel says so with status 2.
refused() {
	local text=$1 stage=$2
	shift 2
	run runnel --state s "$@" -c "ssource k.csv | $stage | ssink -f csv out.csv"
	echo "$output"
	[ "$status" -eq 2 ]
	[[ $output == *"$text"* ]]
}

# stage NAME: what it sends first, in Python.
stage() {
	cat >"$1" <<-END
		#!/usr/bin/env python3
		import msgpack, os, socket, sys, time
		line = socket.socket(fileno=int(os.environ["RUNNEL_LINE"]))
		def say(kind, body): line.sendall(msgpack.packb(msgpack.ExtType(kind, msgpack.packb(body))))
		about = {"line": 1, "type": "mine", "inputs": 1, "outputs": 1}
	END
	cat >>"$1"
	chmod +x "$1"
}

@test "what is no stage is refused, at its place in the text" {
	refused "'./nothing' is no stage" ./nothing
	[[ $output == *"chmod +x"* ]]
	cp k.csv plain
	refused "'./plain' is no stage" ./plain
	refused "/bin/ls: it is no stage: it ended without saying what it is" /bin/ls
	[[ $output == *"runnel-stage(5)"* ]]
	stage broken <<<'import no_such_module'
	refused "with status 1: ModuleNotFoundError: No module named 'no_such_module'" ./broken
	printf '#!/bin/bash\necho hello >&$RUNNEL_LINE\n' >shell
	chmod +x shell
	refused "./shell: it is no stage: the line carries something that is no message" ./shell
	[ ! -e s ]
}

@test "wrong DESCRIPTIONs are refused" {
	stage old <<<'say(0x36, dict(about, line=7)); time.sleep(60)'
	refused "it speaks version 7 of the line, this program version 1" ./old
	stage early <<<'say(0x30, [])'
	refused "its first message is no DESCRIPTION" ./early
	stage odd <<<'say(0x36, dict(about, spread="wide"))'
	refused "a malformed message of kind 0x36" ./odd
	stage slash <<<'say(0x36, dict(about, type="a/b"))'
	refused "says that its type is 'a/b'" ./slash
	stage keyless <<<'say(0x36, dict(about, spread="keyed"))'
	refused "spread by key, and names none for input 0" ./keyless
	stage own <<<'say(0x37 - 3, [2, "no column: use one"])'
	refused "./own: no column: use one" ./own
	stage sink <<<'say(0x36, dict(about, outputs=0))'
	refused "has no input: the stage in front is a sink" ./sink
}

@test "who says nothing is not waited for for ever" {
	stage silent <<<'time.sleep(60)'
	SECONDS=0
	refused "it didn't say for 10 s what it is" ./silent
	[ "$SECONDS" -lt 20 ]
}

@test "a plan with a key of its own, and the smaps around it" {
	runnel --plan -p 2 --state s -c 'ssource k.csv | ./tally.py b | ssink -f csv out/' >plan
	cat plan
	grep -qE '^tally +x2 +reads tally-in$' plan
	grep -qE 'keeps a count per b$' plan
	grep -qE '^tally-in +x2 +reads ssource, by "b"$' plan
	runnel --plan --state s -c 'ssource k.csv | ./tally.py b | ssink -f csv out/' >plan
	grep -qE '^tally +x1 +reads ssource$' plan
}

@test "its key groups are those of the programs" {
	python3 -c '
import random
random.seed(4)
print("s")
for n in range(100):
    print("".join(random.choice("abcdefgh") for _ in range(n + 1)))' >s.csv
	ssource s.csv | smap 's, xxh64(s) as h' | ssink -f ndjson | python3 -c '
import json, sys, keygroups
for l in sys.stdin:
    r = json.loads(l)
    assert keygroups.xxh64(r["s"].encode()) & (1 << 64) - 1 == r["h"] & (1 << 64) - 1, r
print("same")' | grep -q same
	# And those of the page.
	python3 - "$root/man/runnel-stage.5" <<-'END'
		import keygroups, re, sys
		rows = re.findall(r"^\.It (.*?) Ta ([0-9a-f]{16}) Ta (\d+)$", open(sys.argv[1]).read(), re.M)
		assert len(rows) == 14, rows
		for text, xxh, group in rows:
		    text = text.replace("\\-", "-").replace("null", "None").replace("true", "True").replace("bytes 00 ff", "bytes([0, 255])")
		    key = eval("(%s,)" % text)
		    assert "%016x" % keygroups.xxh64(b"".join(map(keygroups.canonical, key))) == xxh, text
		    assert keygroups.key_group(*key) == int(group), text
		for n in range(1, 129):
		    assert sorted(g for i in range(n) for g in keygroups.key_range(i, n)) == list(range(128))
	END
}

@test "the bytes on the page are what is said on the line" {
	sed 's/^\t\t//' >echo <<-'END'
		#!/usr/bin/env python3
		import os, re, socket, struct, sys, msgpack
		page = open(os.environ["PAGE"]).read()
		def hexed(what):
		    return bytes.fromhex("".join(re.search(r"[<>] %s .*?\n((?:  [0-9a-f]{2}(?: [0-9a-f]{2})*\n)+)" % what, page, re.S)[1].split()))
		line = socket.socket(fileno=int(os.environ["RUNNEL_LINE"]))
		def hear():
		    head = line.recv(6, socket.MSG_WAITALL)
		    return head + line.recv(struct.unpack(">xI", head[:5])[0], socket.MSG_WAITALL)
		line.sendall(hexed("DESCRIPTION"))
		got = hear()
		if not got: sys.exit(0)
		want, plan = msgpack.unpackb(hexed("PLAN")[6:]), msgpack.unpackb(got[6:])
		assert got[5] == hexed("PLAN")[5] and list(map(type, plan)) == list(map(type, want)), plan
		assert plan[0] == "echo" and plan[1:3] == want[1:3] and len(plan[9]) == 32 and plan[11:] == want[11:]
		i, o = os.fdopen(plan[3][0][1], "rb", 0), os.fdopen(plan[4][0][0][0], "wb", 0)
		assert len(plan[3]) == 1 == len(plan[4]) and plan[4][0][1] == []
		line.sendall(hexed("READY"))
		ping = hear()
		assert ping == hexed("PING"), ping
		line.sendall(hexed("PONG"))
		while head := i.read(6):
		    body = b""
		    while len(body) < struct.unpack(">xI", head[:5])[0]: body += i.read(struct.unpack(">xI", head[:5])[0] - len(body))
		    o.write(head + body)
		    if head[5] == 6:
		        line.sendall(msgpack.packb(msgpack.ExtType(0x33, body)))
		        break
	END
	chmod +x echo
	PAGE=$root/man/runnel-stage.5 runnel --state s --checkpoint 1h -c 'ssource k.csv | ./echo | ssink -f csv out.csv' || { cat s/logs/echo.0.log; false; }
	diff k.csv out.csv
}

@test "in a plain pipe" {
	ssource k.csv | ./tally.py b | ssink -f csv >got
	diff got - <<-'END'
		b,n
		x,1
		y,1
		x,2
		,1
		y,2
		x,3
	END
	head -c 60 <(ssource k.csv) | { ./tally.py b || true; } >broken
	! python3 "$root/tests/tools/frames.py" --kinds <broken | grep -qw END
}

@test "under runnel, at any parallelism, the rows are the same" {
	want
	sed 's/--rate 15000//' <<<"$bids | ./tally.py auction | ssink -f csv out.csv" >job.sh
	for p in 1 2 3; do
		start -p $p
		ends 0
		sort out.csv | cmp want -
	done
}

@test "killed again and again, each count comes once" {
	want
	echo "$bids | ./tally.py auction | ssink -f csv out.csv" >job.sh
	for p in 1 2; do
		rm -rf s out.csv log
		start -p $p
		within has_checkpoint
		for _ in 1 2 3; do
			sleep 0.4
			victim=$(pgrep -P "$job" -f tally.py | head -n 1)
			[ -z "$victim" ] || kill -9 "$victim"
		done
		ends 0
		grep -q 'tally.*killed by signal 9' log
		grep -q 'going on from checkpoint' log
		sort out.csv | cmp want -
	done
}

@test "a savepoint is restored at another parallelism, and read by the tools" {
	want
	echo "$bids | ./tally.py auction | ssink -f csv --header no out/" >job.sh
	start -p 2
	within has_checkpoint
	sctl stop ./s --savepoint save
	ends 0
	ls out/* >/dev/null
	tar --zstd -xOf save --wildcards '*tally.0.frames' | ssource -f frames - | ssink -f csv >state.csv
	head -n 1 state.csv | grep -qx key_group,auction,n
	mkdir first && mv out first
	runnel --plan --from save --state s3 -p 3 job.sh >plan
	cat plan
	rm -rf s
	start -p 3 --from save
	ends 0
	{ echo auction,n; cat first/out/* out/*; } | sort | cmp want -
}

@test "what goes wrong later is told, with the stage's name" {
	cat >common.py <<-'END'
		import struct
		def hear(s):
		    head = b""
		    while len(head) < 6: head += s.recv(6 - len(head)) or exit(5)
		    n, kind = struct.unpack(">xIB", head)
		    body = b""
		    while len(body) < n: body += s.recv(n - len(body))
		    return kind, msgpack.unpackb(body)
		import msgpack
	END
	echo 'ssource nexmark:bid --rate 1000 | ./mine | ssink -f csv out/' >job.sh
	failing() { # failing STATUS TEXT
		rm -rf s log out
		start --restart 0/1m --heartbeat 2s
		ends "$1"
		grep -qF "$2" log
	}
	stage mine <<-'END'
		from common import hear
		say(0x36, about); hear(line)
		say(0x34, [1, "the model is no model"]); sys.exit(1)
	END
	failing 1 "mine: the model is no model"
	stage mine <<-'END'
		from common import hear
		say(0x36, about); hear(line)
		print("cannot import gpu", file=sys.stderr); sys.exit(9)
	END
	failing 9 "mine failed too often (--restart 0/1m): ended with status 9; its last words: cannot import gpu"
	stage mine <<-'END'
		from common import hear
		say(0x36, about); hear(line)
		time.sleep(60)
	END
	failing 5 "gave no sign of life for"
	stage mine <<-'END'
		from common import hear
		say(0x36, about); plan = hear(line)[1]
		say(0x30, [])
		i, o = os.fdopen(plan[3][0][1], "rb", 0), os.fdopen(plan[4][0][0][0], "wb", 0)
		while head := i.read(6):
		    n, kind = struct.unpack(">xIB", head)
		    body = b""
		    while len(body) < n: body += i.read(n - len(body))
		    o.write(head + body)
		    if kind == 5:
		        number = msgpack.unpackb(body)[0]
		        say(0x31, [number, "%s/%d/mine.0.frames" % (plan[6], number), 10, None, b"", 0])
	END
	sed -i 's/^import msgpack/import struct, msgpack/' mine
	failing 5 "it acknowledges this, which can't be seen"
}
