#!/usr/bin/env bats
# swindow as a user types it.  Rows are read back by tests/tools/frames.py, not by the project.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' k,v,at a,1,2024-01-01T00:00:01Z b,2,2024-01-01T00:00:04Z \
		a,3,2024-01-01T00:00:12Z a,,2024-01-01T00:00:13Z ,5,2024-01-01T00:00:25Z \
		b,6,2024-01-01T00:00:03Z >in.csv
}

# Rows as words, null as None, times in seconds since the start of 2024.
rows() {
	python3 -c '
import sys
sys.path.insert(0, sys.argv[1])
import frames
s = frames.read(sys.stdin.buffer)
short = lambda v, t: (v - 1704067200000000) / 1000000 if t == "timestamp" and v is not None else v
word = lambda v: "%g" % v if isinstance(v, float) else str(v)
for row in s.rows:
    print(*[word(short(v, t)) for v, t in zip(row, s.types)])' "$root/tests/tools"
}

window() {
	ssource -t at in.csv | swindow "$@" | rows
}

# A call that must fail: standard output and standard error go to files.
refused() {
	run bash -c 'ssource ${TIME--t at} in.csv | swindow "$@" >out 2>errors' - "$@"
	echo "$* gives $status: $(cat errors)"
	grep -q '^swindow: error: ' errors
}

@test "wrong usage is refused with a hint" {
	refused
	[ "$status" -eq 2 ]
	grep -q 'nothing to do' errors
	refused --hop 2s,10s -k k
	[ "$status" -eq 2 ]
	grep -q 'SIZE comes first' errors
	refused --cumulate 10s,3s -k k
	grep -q 'multiple of STEP' errors
	refused --hop 10s -k k
	grep -q 'takes SIZE,SLIDE' errors
	refused --tumble 10s --session 5s -k k
	grep -q 'not several' errors
	refused --tumble 0s -k k
	grep -q 'longer than nothing' errors
	refused -k k 'count(*)' in.csv
	[ "$status" -eq 2 ]
	grep -q 'shell expanded' errors
}

@test "unknown columns and aggregates are named, with what there is" {
	refused -k kk
	[ "$status" -eq 2 ]
	grep -q "no column 'kk'" errors
	refused -k k 'summ(v)'
	[ "$status" -eq 2 ]
	grep -q 'unknown function summ()' errors
	grep -q 'did you mean sum()?' errors
	refused -k k 'v'
	[ "$status" -eq 2 ]
	grep -q "'v' is neither a key nor inside an aggregate" errors
	refused -k k 'count'
	grep -q 'its columns: k, v, at' errors
	refused -k k 'sum(k)'
	[ "$status" -eq 2 ]
	grep -q "can't add values of type string" errors
	refused -k k 'count(*) as k'
	[ "$status" -eq 2 ]
	grep -q "two columns of the result are named 'k'" errors
}

@test "a window without event time names the stage in front" {
	TIME= refused --tumble 10s 'count(*) as n'
	[ "$status" -eq 2 ]
	grep -q 'the stream from ssource has none' errors
}

@test "an empty input gives no windows, and one row of a global count" {
	head -1 in.csv >empty.csv
	run bash -c 'ssource -s "k string, v int, at timestamp" -t at empty.csv |
		swindow --tumble 10s "count(*) as n" >out'
	[ "$status" -eq 0 ]
	[ "$(rows <out)" = "" ]
	[ "$(ssource -s "k string, v int" empty.csv | swindow "count(*) as n, sum(v) as s" | rows)" = "0 None" ]
}

@test "tumbling windows come by end, then by the key's first appearance" {
	[ "$(window --tumble 10s -k k 'count(*) as n, sum(v) as s')" = "a 0 10 1 1
b 0 10 2 8
a 10 20 2 3
None 20 30 1 5" ]
}

@test "hops, cumulating windows and offsets" {
	[ "$(window --hop 20s,10s 'count(*) as n')" = "-10 10 3
0 20 5
10 30 3
20 40 1" ]
	[ "$(window --cumulate 20s,10s 'count(*) as n')" = "0 10 3
0 20 5
20 30 1
20 40 1" ]
	[ "$(window --tumble 10s --offset 5s 'count(*) as n')" = "-5 5 3
5 15 2
25 35 1" ]
}

@test "a session ends a gap after its last row; exactly the gap still joins" {
	[ "$(window --session 9s 'count(*) as n' -w 'k is not null')" = "1 22 5" ]
	[ "$(window --session 8s -k k 'count(*) as n' -w 'k is not null')" = "a 1 9 1
b 3 12 2
a 12 21 2" ]
}

@test "no window: groups in order of first appearance; no aggregates: distinct keys" {
	[ "$(window -k k 'max(v) as m, count(distinct v) as d')" = "a 3 2
b 6 2
None 5 1" ]
	[ "$(window -k k)" = "a
b
None" ]
	[ "$(window -k 'v > 2 as large' 'count(*) as n')" = "False 2
True 3
None 1" ]
}

@test "filters, and expressions over aggregates" {
	[ "$(window 'count(*) filter (where v > 2) as large, 1.0 * sum(v) / count(v) as mean')" = "3 3.4" ]
}

@test "the result's time is its window's end less a microsecond" {
	ssource -t at in.csv | swindow --tumble 10s 'count(*) as n' >out
	python3 - "$root/tests/tools" <<-'END'
		import sys
		sys.path.insert(0, sys.argv[1])
		import frames
		s = frames.read(open("out", "rb"))
		assert list(s.time) == ["window_end", -1], s.time
		assert s.names == ["window_start", "window_end", "n"], s.names
	END
}

@test "a window_end among the keys closes groups in time and keeps it" {
	run bash -c 'ssource -t at in.csv | swindow --tumble 10s -k k "count(*) as n" |
		swindow -k window_end "max(n) as m" >out'
	[ "$status" -eq 0 ]
	[ "$(rows <out)" = "10 2
20 2
30 1" ]
}

@test "late rows go to the late output, and lateness waits for them" {
	{
		echo at
		for i in 0 1 2; do seq -f '2024-01-01T0'$i':%02g:00Z' 0 59; done
		yes 2024-01-01T03:00:00Z | head -20000
		echo 2024-01-01T02:59:30Z
	} >long.csv
	run bash -c 'ssource -t at -d 0s long.csv |
		swindow --tumble 1h --late late "count(*) as n" >out'
	[ "$status" -eq 0 ]
	[ "$(rows <out)" = "0 3600 60
3600 7200 60
7200 10800 60
10800 14400 20000" ]
	[ "$(rows <late)" = "10770" ]
	run bash -c 'ssource -t at -d 0s long.csv |
		swindow --tumble 1h --lateness 1m --late late "count(*) as n" >out'
	[ "$(rows <out | tail -2)" = "7200 10800 61
10800 14400 20000" ]
	[ "$(rows <late)" = "" ]
}

@test "an argument can come from a file" {
	printf 'count(*) as n, -- all\nsum(v) as s\n' >list.sql
	[ "$(window -k k @list.sql)" = "a 3 4
b 2 8
None 1 5" ]
}

@test "more state than --memory allows is a clear error" {
	run bash -c 'seq 100000 | ssource -f csv --header no - | swindow --memory 100k --emit changes -k c1 "count(*) as n" >out 2>errors'
	[ "$status" -eq 1 ]
	grep -q 'more than --memory allows' errors
}

@test "a database gives the same answers" {
	run python3 "$root/tests/window_oracle.py"
	echo "$output"
	[ "$status" -eq 0 ]
}
