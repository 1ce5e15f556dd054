#!/usr/bin/env bats
# --exec: rows through a co-process of the user's, and windows.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	export NO_COLOR=1 LC_ALL=C XDG_STATE_HOME=$PWD/state
	printf 'a,b,t\n1,x,2024-01-01T00:00:00Z\n2,"y ""z",2024-01-01T00:00:05Z\n3,,2024-01-01T00:00:07Z\n' >d.csv
	cat >score.py <<-'END'
		import json, sys
		for line in sys.stdin:
		    row = json.loads(line)
		    if row["a"] == 2:
		        out = [dict(row, s=1.5), dict(row, s=2.5)]
		    else:
		        out = None if row["b"] is None else dict(row, s=0.5)
		    print(json.dumps(out), flush=True)
	END
}

# through ARGUMENT...: the rows of d.csv, as csv with spaces for newlines.
through() {
	ssource d.csv -t t | smap "$@" | ssink -f csv | tr '\n' ' '
}

# fails TEXT ARGUMENT...: with status 5 and the text.
fails() {
	local text=$1 status=0
	shift
	ssource d.csv -t t >d.frames
	timeout 20 smap "$@" <d.frames >out 2>errors || status=$?
	cat errors
	[ "$status" -eq 5 ]
	grep -qF -- "$text" errors
	! python3 "$top/tests/tools/frames.py" --kinds <out | grep -qw END
}

@test "an answer that is no row fails the stage, and the row is shown" {
	fails "the record ends within a string" --exec 'sed "s/x.*//"'
	grep -qF 'the row:    {"a":1,"b":"x","t":"2024-01-01T00:00:00Z"}' errors
	grep -qF 'its answer: {"a":1,"b":"' errors
	fails "an answer is an object, an array of objects, or null" --exec 'sed "s/.*/7/"'
	fails "an empty line" --exec 'sed "s/.*//"'
	fails "holds objects" --exec 'sed "s/.*/[1]/"'
	fails "isn't closed" --exec 'sed "s/.*/[{},/"' a
	fails "'q' is no column of the question" --exec 'sed "s/.a./\"q\"/"'
	fails "is not an int" --exec 'sed "s/:2,/:\"two\",/"'
	grep -qF '"a":2,' errors
	fails "no event time (column t)" --exec 'sed "s/\"t\":[^}]*/\"t\":null/"'
	fails "what it writes is no msgpack" --exec "printf '\301'" --exec-format msgpack
	fails "a map, an array of maps, or nil" --exec "printf '\1\1\1'; cat >/dev/null" --exec-format msgpack
}

@test "too few answers, too many, and none at all" {
	fails "it ended with status 0 after 2 answers to 3 rows" --exec 'head -n 2'
	grep -qF 'the first row without an answer: {"a":3,' errors
	fails "it ended with status 7 after 0 answers" --exec 'exit 7'
	fails "status 127" --exec ./nothing
	grep -q '^smap: exec: .*nothing: not found' errors
	fails "was killed by signal 9 after" --exec 'kill -9 $$'
	fails "more answers than rows" --exec 'cat; echo null'
	fails "more answers than rows" --exec 'yes null'
	fails "ended with status 4 after all 3 answers: it has to end with 0" --exec 'cat; exit 4'
}

@test "silence is a failure after a time, and the message tells what is usual" {
	fails "no answer for 0.2 s, and 3 rows wait for one" --exec 'sleep 60' --exec-timeout 200ms
	grep -qF "flush=True" errors
	fails "it doesn't end, though its input has for 0.2 s" --exec 'cat; exec >&-; sleep 60' --exec-timeout 200ms
}

@test "wrong usage of the options" {
	ssource d.csv >d.frames
	for bad in "--exec-schema a" "--exec-timeout 1s" "--exec cat --exec-format xml" \
		"--exec cat --exec-schema new" "--exec cat --exec-schema 'a nothing'"; do
		status=0
		eval "smap $bad" <d.frames >/dev/null 2>errors || status=$?
		echo "$bad: $status"; cat errors
		[ "$status" -eq 2 ]
	done
}

@test "an object is a row, an array several, null none" {
	[ "$(through --exec cat)" = 'a,b,t 1,x,2024-01-01T00:00:00Z 2,"y ""z",2024-01-01T00:00:05Z 3,,2024-01-01T00:00:07Z ' ]
	[ "$(through --exec cat --exec-format msgpack)" = "$(through --exec cat)" ]
	[ "$(through --exec 'python3 score.py' --exec-schema 'a, s float' a,b)" = 'a,s 1,0.5 2,1.5 2,2.5 ' ]
	[ "$(through --exec 'python3 score.py' --exec-schema '*, s float, a string' a,b)" = 'a,b,s 1,x,0.5 2,"y ""z",1.5 2,"y ""z",2.5 ' ]
	[ "$(through --exec 'sed "s/.*/[]/"' a)" = 'a ' ]
}

@test "the condition and the list come first, and the event time stays with its column" {
	[ "$(through -w 'a > 1' --exec cat 'a + 1 as b')" = 'b 3 4 ' ]
	ssource d.csv -t t | smap --exec cat | swindow --tumble 5s 'count(*) as n' | ssink -f csv >out
	[ "$(tail -n 1 out)" = 2024-01-01T00:00:05Z,2024-01-01T00:00:10Z,2 ]
	status=0
	ssource d.csv -t t | smap --exec cat --exec-schema 'a int' |
		swindow --tumble 5s 'count(*) as n' >/dev/null 2>errors || status=$?
	[ "$status" -eq 2 ]
	[ "$(through --exec cat --exec-schema 'a, t' --assign-time t)" = 'a,t 1,2024-01-01T00:00:00Z 2,2024-01-01T00:00:05Z 3,2024-01-01T00:00:07Z ' ]
}

@test "without input nothing is started" {
	head -n 1 d.csv >empty.csv
	[ "$(ssource empty.csv | smap --exec 'touch started; cat' a | ssink -f csv)" = a ]
	[ ! -e started ]
}

@test "a command that writes out at its end only, and one that answers in bursts, hold nothing up" {
	ssource nexmark:bid?events=20000 | ssink -f csv want
	ssource nexmark:bid?events=20000 | smap --exec 'python3 -c "
import sys
sys.stdout.write(sys.stdin.read())"' | ssink -f csv got
	cmp want got
	ssource nexmark:bid?events=20000 | smap --exec 'python3 -c "
import sys, random, time
random.seed(7)
held = []
for line in sys.stdin:
    held.append(line)
    if random.random() < 0.003:
        print(end=\"\".join(held), flush=True); held = []
print(end=\"\".join(held))"' | ssink -f csv got
	cmp want got
}

@test "answers come without being waited for while the stream is quiet" {
	mkfifo in
	{ cat d.csv; exec sleep 20; } >in 3>&- &
	feeder=$!
	ssource -f csv --follow - <in 2>/dev/null | smap --exec cat | ssink -f ndjson >out 3>&- &
	for _ in $(seq 100); do
		[ "$(wc -l <out 2>/dev/null)" -eq 3 ] && break
		sleep 0.1
	done
	[ "$(wc -l <out)" -eq 3 ]
	kill "$feeder"
	wait
}

@test "a quiet stream's rows in flight are not late for who has other inputs" {
	printf 'while read -r l; do sleep 0.3; echo "$l"; done\n' >slow.sh
	mkfifo one two
	{ printf 'k,t\na,2024-01-01T00:00:01Z\na,2024-01-01T00:00:02Z\n'; exec sleep 1.5; } >one 3>&- &
	{ printf 'k,t\n'; sleep 0.2; printf 'b,2024-01-01T01:00:00Z\n'; exec sleep 1.3; } >two 3>&- &
	ssource -f csv --follow - -t t -d 0s --idle 50ms <one 2>/dev/null | smap --exec 'sh slow.sh' |
		smerge <(ssource -f csv --follow - -t t -d 0s --idle 50ms <two 2>/dev/null) |
		swindow -k k --tumble 1s 'count(*) as n' --late late | ssink -f csv >out
	cat out
	[ "$(wc -l <out)" -eq 4 ]
	[ "$(ssink -f csv <late)" = k,t ]
	wait
}

@test "a changelog's ops stay with their rows, and a half update stands for itself" {
	printf 'k,v\na,1\nb,1\na,2\na,3\nb,5\n' >c.csv
	ssource c.csv | swindow -k k --emit changes 'sum(v) as s' | smap --exec cat | ssink -f csv >got
	ssource c.csv | swindow -k k --emit changes 'sum(v) as s' | ssink -f csv >want
	diff want got
	ssource c.csv | swindow -k k --emit changes 'sum(v) as s' | smap -w 's < 4' | ssink -f csv >want
	ssource c.csv | swindow -k k --emit changes 'sum(v) as s' |
		smap --exec "sed 's/.*\"s\":[4-9].*/null/'" | ssink -f csv >got
	cat got
	diff want got
}

@test "its environment, its standard error, and its end with the stage" {
	ssource d.csv | smap --name scorer --exec 'echo "$RUNNEL_STAGE $RUNNEL_SUBTASK" >&2; printf half >&2; cat' a 2>errors | ssink -f csv >/dev/null
	diff errors - <<-'END'
		scorer: exec: scorer 0
		scorer: exec: half
	END
	mkfifo in
	ssource d.csv >d.frames
	{ head -c "$(($(wc -c <d.frames) - 15))" d.frames; exec sleep 30; } >in 3>&- &
	feeder=$!
	smap --exec 'echo $$ >pid; (sleep 300 & echo $! >child; wait) & cat' <in >/dev/null 3>&- 2>&1 &
	stage=$!
	for _ in $(seq 100); do [ -s child ] && break; sleep 0.05; done
	kill -9 "$stage"
	for _ in $(seq 100); do
		kill -0 "$(cat pid)" 2>/dev/null || kill -0 "$(cat child)" 2>/dev/null || break
		sleep 0.05
	done
	kill "$feeder"
	! kill -0 "$(cat pid)" 2>/dev/null
	! kill -0 "$(cat child)" 2>/dev/null
}

# windows ARGUMENT...: of d.csv, as csv with spaces for newlines.
windows() {
	ssource d.csv -t t | swindow "$@" | ssink -f csv | tr '\n' ' '
}

@test "windows: wrong usage, and answers that are none" {
	ssource d.csv -t t >d.frames
	for bad in "--exec cat" "--exec cat --exec-schema 'a int' --emit changes" "--over all --exec cat 'count(*)'" \
		"-k a --exec cat --exec-schema 'a int'" "--exec-timeout 1s -k a" "--exec cat --exec-schema 'a nothing'"; do
		status=0
		eval "swindow $bad" <d.frames >/dev/null 2>errors || status=$?
		echo "$bad: $status"; cat errors
		[ "$status" -eq 2 ]
	done
	status=0
	swindow --exec 'sed s/.*/7/' --exec-schema 'x int' <d.frames >/dev/null 2>errors || status=$?
	cat errors
	[ "$status" -eq 5 ]
	grep -qF 'the window:    {"rows":[{"a":1,"b":"x","t":"2024-01-01T00:00:00Z"},' errors
}

@test "windows: a question per group when it closes, the answer behind keys, window and aggregates" {
	cat >n.py <<-'END'
		import json, sys
		for line in sys.stdin:
		    w = json.loads(line)
		    print(json.dumps({"n": len(w["rows"]), "as": "".join(str(r["a"]) for r in w["rows"])}), flush=True)
	END
	local schema='n int, "as" string'
	[ "$(windows --tumble 5s --exec 'python3 n.py' --exec-schema "$schema")" = 'window_start,window_end,n,as 2024-01-01T00:00:00Z,2024-01-01T00:00:05Z,1,1 2024-01-01T00:00:05Z,2024-01-01T00:00:10Z,2,23 ' ]
	[ "$(windows -w 'a > 1' --exec 'python3 n.py' --exec-schema "$schema")" = 'n,as 2,23 ' ]
	[ "$(windows -k 'a % 2 as odd' --exec 'python3 n.py' --exec-schema "$schema" 'sum(a) as s -- all')" = 'odd,s,n,as 1,4,2,13 0,2,1,2 ' ]
	[ "$(windows --session 2s --exec 'python3 n.py' --exec-schema "n int" | wc -w)" -eq 3 ]
	[ "$(windows --count 2 --exec 'python3 n.py' --exec-schema "n int")" = 'n 2 ' ]
	[ "$(windows -k a --exec 'sed "s/.*\"a\":2,.*/[{\"x\":1},{\"x\":2}]/; t; s/.*/null/"' --exec-schema 'x int')" = 'a,x 2,1 2,2 ' ]
}

@test "windows: the rows are those of the aggregates, also where they don't fit in memory, in msgpack too" {
	cat >m.py <<-'END'
		import msgpack, sys
		for w in msgpack.Unpacker(sys.stdin.buffer, read_size=1, max_buffer_size=1 << 28):
		    prices = [r["price"] for r in w["rows"]]
		    assert isinstance(w["window_end"], msgpack.Timestamp) and isinstance(w["rows"][0]["dateTime"], msgpack.Timestamp)
		    sys.stdout.buffer.write(msgpack.packb({"top": max(prices), "n": len(prices)}))
		    sys.stdout.buffer.flush()
	END
	ssource 'nexmark:bid?events=5000' | smap 'auction, price, dateTime' >bids.frames
	swindow --tumble 1s -k auction 'max(price) as top, count(*) as n' <bids.frames | ssink -f csv >want
	swindow --tumble 1s -k auction --exec 'python3 m.py' --exec-format msgpack --exec-schema 'top int, n int' <bids.frames |
		ssink -f csv >got
	cmp want got
	swindow --memory 100k --tumble 1s -k auction --exec 'python3 m.py' --exec-format msgpack --exec-schema 'top int, n int' <bids.frames |
		ssink -f csv >got
	cmp want got
}

@test "windows: late rows have the columns of the input" {
	{ echo a,t; yes 2,2024-01-01T01:00:00Z | head -n 9000; echo 3,2024-01-01T00:00:00Z; } >late.csv
	ssource late.csv -t t -d 0s | swindow --tumble 5s --late late.frames --exec 'sed s/.*/{}/' --exec-schema 'x int' >/dev/null
	[ "$(ssink -f csv <late.frames | tr '\n' ' ')" = 'a,t 3,2024-01-01T00:00:00Z ' ]
}

@test "windows under runnel: killed and restored at another parallelism, rows in its state" {
	printf 'import json, sys\nfor l in sys.stdin: print(json.dumps({"n": len(json.loads(l)["rows"])}), flush=True)\n' >n.py
	cat >job.sh <<-'END'
		ssource 'nexmark:bid?events=120000' --rate 30000 -d 0s |
		  swindow --tumble 1s -k auction --exec 'echo $$ >>pids; exec python3 n.py' --exec-schema 'n int' |
		  ssink -f csv --header no out/
	END
	ssource 'nexmark:bid?events=120000' -d 0s | swindow --tumble 1s -k auction 'count(*) as n' |
		ssink -f csv --header no | sort >want
	runnel -p 2 --state s --checkpoint 200ms job.sh >log 2>&1 3>&- &
	job=$!
	for _ in $(seq 100); do [ -s pids ] && break; sleep 0.05; done
	kill -9 "$(tail -n 1 pids)"
	sleep 0.8
	kill -INT "$job" || { cat log; false; }
	wait "$job" || true
	cat log
	grep -q "was killed by signal 9" log
	grep -q "stopped; started again" log
	runnel -p 3 --state s --checkpoint 200ms job.sh >>log 2>&1 || { cat log; false; }
	cat out/* | sort | cmp want -
}

@test "under runnel, killed with its co-process again and again, every row counts once" {
	cat >job.sh <<-'END'
		ssource 'nexmark:bid?events=60000' --rate 20000 |
		  smap --exec 'echo $$ >>pids; exec python3 -u pass.py' 'auction, price, dateTime' |
		  swindow --tumble 2s -k auction 'count(*) as n, sum(price) as s' |
		  ssink -f csv out.csv
	END
	printf 'import sys\nfor line in sys.stdin: print(line, end="")\n' >pass.py
	ssource 'nexmark:bid?events=60000' | swindow --tumble 2s -k auction 'count(*) as n, sum(price) as s' |
		ssink -f csv | sort >want
	runnel -p 2 --state s --checkpoint 200ms job.sh >log 2>&1 3>&- &
	job=$!
	for _ in 1 2 3; do
		sleep 0.7
		kill -9 "$(tail -n 1 pids)" || true
	done
	wait "$job" || { cat log; false; }
	cat log
	grep -q "was killed by signal 9 after" log
	sort out.csv | diff want - | head
	sort out.csv | cmp want -
}
