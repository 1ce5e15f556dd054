#!/usr/bin/env bats
# speek as a user types it: what passes is unchanged, what it tells is on standard error.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/home NO_COLOR=1 LC_ALL=C.UTF-8
	printf '%s\n' a,b,at 1,x,2024-01-01T00:00:01Z 2,y,2024-01-01T00:00:12Z ,z,2024-01-01T00:00:20Z >a.csv
	started=
}

teardown() {
	[ -z "$started" ] || kill -9 $started 2>/dev/null || true
	wait 2>/dev/null || true
}

says() { # says TEXT: a pipeline of bash's; standard output to out, standard error to errors
	status=0
	timeout -k 1 60 bash -c "set -o pipefail; $1" >out 2>errors </dev/null 3>&- || status=$?
	echo "$1 gives $status"
	cat out errors
}

eventually() { # eventually COMMAND: until it succeeds, at most half a minute
	for _ in $(seq 600); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	return 1
}

@test "wrong usage is said" {
	says "ssource a.csv | speek x >/dev/null"
	[ "$status" -eq 2 ]
	[ "$(sed -n 1p errors)" = "speek: error: it takes no arguments, and there is 'x'" ]
	says "ssource a.csv | speek -q --plot c | ssink x.csv"
	[ "$status" -eq 3 ]
	grep -qx "speek: error: --plot: the stream has no column 'c'" errors
	grep -qx "its columns: a, b, at" errors
	says "ssource a.csv | speek -q --plot b | ssink x.csv"
	[ "$status" -eq 3 ]
	diff - <(sort errors) <<-'END'
		speek: error: --plot: 'b' is string, not a number
		ssink: error: speek failed: --plot: 'b' is string, not a number
	END
	[ ! -e x.csv ]
}

@test "frames pass byte for byte, whatever is looked at" {
	ssource 'nexmark:bid?events=30000' -t dateTime -d 1s >all.frames
	behind_hello() { python3 -c '
import sys
d = sys.stdin.buffer.read()
sys.stdout.buffer.write(d[6 + int.from_bytes(d[1:5], "big"):])'; }
	for options in -q '-q -n 100' '-q --frames' '-q --plot price' ''; do
		says "speek $options <all.frames"
		[ "$status" -eq 0 ]
		cmp <(behind_hello <all.frames) <(behind_hello <out)
	done >/dev/null
	says "speek -q <all.frames | cat >/dev/null"
	[ ! -s errors ]
}

@test "the last line tells of all that has passed" {
	says "ssource 'nexmark:bid?events=30000' -t dateTime | speek --name here --every 0s | ssink null:"
	[ "$status" -eq 0 ]
	[ "$(wc -l <errors)" -eq 1 ]
	grep -qE '^here: [0-9.]+[kM]? rows/s, [0-9.]+ [KM]iB/s, watermark final, idle [0-9]+%, backpressured [0-9]+%, 27600 rows in [0-9]+ frames, [0-9.]+ MiB in [0-9a-z.]+$' errors
	says "ssource a.csv | speek -q | ssink -f csv"
	[ ! -s errors ]
	diff a.csv out
}

@test "a line a second, one when SIGUSR1 asks, with the watermark and how far it is behind" {
	ssource nexmark:bid --rate 20000 -t dateTime -d 0s 2>/dev/null 3>&- |
		speek --every 200ms 2>errors 3>&- | ssink null: 2>/dev/null 3>&- &
	shell=$BASHPID
	eventually '[ "$(wc -l <errors)" -ge 3 ]'
	grep -qE '^speek: [0-9.]+k rows/s, .* watermark 20[0-9T:.-]+Z \([0-9]+d([0-9]+h)? behind\), idle [0-9]+%' errors
	pid=$(pgrep -x speek -P $shell)
	source=$(pgrep -x ssource -P $shell)
	started="$pid $source $!"
	kill -INT "$source"
	wait
	started=
	tail -n 1 errors | grep -q 'watermark final'

	ssource nexmark:bid --rate 20000 2>/dev/null 3>&- |
		speek --every 0s 2>errors 3>&- | ssink null: 2>/dev/null 3>&- &
	eventually 'pid=$(pgrep -x speek -P $shell)'
	source=$(pgrep -x ssource -P $shell)
	started="$pid $source $!"
	eventually 'kill -USR1 $pid; [ -s errors ]'
	grep -q 'rows/s' errors
	kill -INT "$source"
	wait
	started=
}

@test "-n shows the first rows as a table" {
	says "ssource a.csv | speek -q -n 2 | ssink null:"
	[ "$status" -eq 0 ]
	diff - errors <<-'END'
		a  b  at
		─  ─  ────────────────────
		1  x  2024-01-01T00:00:01Z
		2  y  2024-01-01T00:00:12Z
	END
	says "ssource a.csv | smap -w false | speek -q -n 2 | ssink null:"
	[ "$(wc -l <errors)" -eq 2 ]
	# As they pass: the stream hasn't ended.
	mkfifo in
	ssource a.csv >rows
	speek -q -n 5 <in >/dev/null 2>errors 3>&- &
	started=$!
	exec 9>in
	head -c -8 rows >&9
	eventually 'grep -q 00:20Z errors'
	tail -c 8 rows >&9
	exec 9>&-
	wait $started
	started=
}

@test "--frames lists every frame" {
	says "ssource a.csv -t at -d 1s | speek -q --frames | ssink null:"
	[ "$status" -eq 0 ]
	# Numbers from 1, every frame starts where the one before ended.
	awk '$1 != NR || $2 != at { print "wrong: " $0; bad = 1 } { at += $4 } END { exit bad }' errors
	grep -qE ' HELLO +[0-9]+  ssource, bounded$' errors
	grep -qE ' SCHEMA +[0-9]+  1: a int, b string, at timestamp$' errors
	grep -qE ' (BATCH|ROWS) +[0-9]+  3 rows of schema 1$' errors
	grep -qE ' WATERMARK +[0-9]+  final$' errors
	grep -qE ' END +8  3 rows$' errors
}

@test "--plot draws over event time, and over the rows" {
	python3 -c '
print("at,y")
for n in range(200): print("%d,%s" % (n * 1000, abs(n - 100) if n % 50 else ""))' >v.csv
	says "ssource -s 'at timestamp(ms), y int' v.csv -t at | speek -q --plot y >/dev/null"
	[ "$status" -eq 0 ]
	[ "$(wc -l <errors)" -eq 15 ]
	[ "$(sed -n 1p errors)" = "y over at, 196 values, 4 without" ]
	sed -n 2p errors | grep -qE '^ {8}99 ┤⠑⠦⡀ +⡠⠖⠉$'
	sed -n 13p errors | grep -qE '^ {9}1 ┤ +⠈⠑⠦⣀⡠⠖⠁$'
	grep -q '1970-01-01T00:00:01Z  *1970-01-01T00:03:19Z$' errors
	[ "$(wc -L <errors)" -le 80 ]
	says "ssource -s 'y int' v.csv | speek -q --plot y >/dev/null"
	[ "$(sed -n 1p errors)" = "y over the rows, 196 values, 4 without" ]
	grep -q ' 2  *200$' errors
	says "ssource v.csv | smap -w false | speek -q --plot y >/dev/null"
	[ "$(cat errors)" = "y over the rows, 0 values" ]
}

@test "on a terminal the line is written over" {
	command -v script >/dev/null || skip "no script(1)"
	timeout -k 1 30 script -qec "ssource 'nexmark:bid?events=20000' --rate 40000 | speek --every 100ms | ssink null:" typescript \
		>/dev/null </dev/null 3>&-
	[ "$(grep -c 'rows/s' typescript)" -eq 1 ] # one line, whose last state it is
	[ "$(grep -o $'\e\\[J' typescript | wc -l)" -ge 2 ]
}

@test "a stage in front that fails is passed on, after what there was" {
	head -c 200 <(ssource a.csv) >half.frames
	says "speek --every 0s <half.frames | ssink x.csv"
	[ "$status" -eq 3 ]
	grep -q '^speek: .* rows/s' errors
	grep -q '^speek: error: standard input ends in the middle of frame' errors
	[ ! -e x.csv ]
}

@test "under runnel it is a stage like others, with its reports in its log" {
	says "runnel --state state -p 2 -c 'ssource \"nexmark:bid?events=20000\" | speek -n 1 | smap auction | ssink out.csv'"
	[ "$status" -eq 0 ]
	grep -q 'speek: .* rows in [0-9]* frames' errors
	[ "$(sed 1d out.csv | wc -l)" -eq 18400 ]
	says "runnel --plan -p 2 -c 'ssource a.csv | speek | ssink null:'"
	grep -qx 'speek            x2   reads ssource' out
}
