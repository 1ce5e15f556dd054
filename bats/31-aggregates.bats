#!/usr/bin/env bats
# swindow's aggregates as a user types them; their values are compared with a database's elsewhere.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' k,v,s,at a,1,x,2024-01-01T00:00:03Z a,2,y,2024-01-01T00:00:01Z \
		b,5,z,2024-01-01T00:00:02Z a,9,,2024-01-01T00:00:04Z >in.csv
}

window() {
	ssource -t at in.csv | swindow "$@" | ssink -f ndjson
}

# A call that must fail with status 2, nothing on standard output, and this message.
refuses() {
	local list="$1"
	shift
	ssource -t at in.csv >in.frames
	run bash -c 'swindow "$1" <in.frames >out 2>errors' - "$list"
	printf '%s\n' "$@" >wanted
	diff wanted errors
	[ "$status" -eq 2 ]
	! grep -q . <(ssource out 2>/dev/null | ssink -f ndjson 2>/dev/null)
}

@test "deviations, of a sample and of all" {
	[ "$(window -k k 'stddev(v) as s, var_samp(v) as v, stddev_pop(v) as sp, var_pop(v) as vp')" = \
'{"k":"a","s":4.358898943540674,"v":19.0,"sp":3.559026084010437,"vp":12.666666666666666}
{"k":"b","s":null,"v":null,"sp":0.0,"vp":0.0}' ]
}

@test "quantiles lie between two values so much of the way" {
	[ "$(window -k k 'median(v) as m, quantile(v, 0.9) as q, quantile(v, 1.0 - 0.75) as e')" = \
'{"k":"a","m":2.0,"q":7.6,"e":1.5}
{"k":"b","m":5.0,"q":5.0,"e":5.0}' ]
	[ "$(window 'median(at) as t, median(v::decimal(9,2)) as d')" = \
		'{"t":"2024-01-01T00:00:02.500Z","d":3.500000}' ]
}

@test "estimates of few values are exact" {
	[ "$(window -k k 'approx_quantile(v, 0.5) as q, approx_count_distinct(s) as n')" = \
'{"k":"a","q":2.0,"n":2}
{"k":"b","q":5.0,"n":1}' ]
}

@test "lists go by event time; only arrays have nulls" {
	[ "$(window -k k "string_agg(s, ' then ') as s, string_agg(v::string) as v")" = \
'{"k":"a","s":"y then x","v":"2,1,9"}
{"k":"b","s":"z","v":"5"}' ]
	[ "$(window -k k 'array_agg(s) as s, array_agg(v) filter (where v > 1) as v')" = \
'{"k":"a","s":["y","x",null],"v":[2,9]}
{"k":"b","s":["z"],"v":[5]}' ]
	[ "$(window 'array_agg(at)[0] as first, bool_and(v > 1) as every, bool_or(v > 8) as some')" = \
		'{"first":"2024-01-01T00:00:01Z","every":false,"some":true}' ]
}

@test "wrong arguments are named, with what to write instead" {
	refuses 'quantile(v)' \
		'swindow: error: quantile(v): quantile takes a value and a fraction, as in quantile(x, 0.9)'
	refuses 'quantile(v, 95)' \
		'swindow: error: quantile(v, 95): the fraction of quantile is a number from 0 to 1' \
		'did you mean 0.95?'
	refuses 'quantile(v, v)' \
		"swindow: error: aggregates:1:13: this must be a constant, not the column 'v'" \
		'  quantile(v, v)' '              ^'
	refuses 'median(s)' \
		'swindow: error: median(s): median takes numbers, timestamps and durations, not string' \
		'cast it, as in median(x::float)'
	refuses 'approx_quantile(at, 0.5)' \
		'swindow: error: approx_quantile(at, 0.5): approx_quantile takes numbers and durations, not timestamp' \
		'quantile takes timestamps, too, and is exact'
	refuses 'string_agg(v)' \
		'swindow: error: string_agg(v): string_agg takes strings, not int' \
		"cast it, as in string_agg(x::string, ',')"
	refuses 'string_agg(s, 3)' \
		"swindow: error: string_agg(s, 3): the separator of string_agg is a string, as in string_agg(x, ', ')"
	refuses 'bool_or(v)' 'swindow: error: bool_or(v): bool_or takes bool, not int' \
		'cast it, as in bool_or(x::bool)'
	refuses 'quantil(v)' 'swindow: error: aggregates:1:1: unknown function quantil()' \
		'  quantil(v)' '  ^' 'did you mean quantile()?'
}

# A changelog of int rows (op, key, value), as a script would write it.
changelog() {
	python3 -c '
import struct, sys, msgpack
def frame(kind, body):
    body = msgpack.packb(body)
    sys.stdout.buffer.write(b"\xc9" + struct.pack(">IB", len(body), kind) + body)
rows = [[int(v) for v in row.split(":")] for row in sys.argv[1:]]
frame(0, ["runnel", 1, {"endian": "little", "stage": "script", "bounded": True}])
frame(1, [1, [["k", "int"], ["v", "int"]], {"changelog": True}])
frame(3, [1, [[k, v, op] for op, k, v in rows]])
frame(6, [len(rows)])' "$@"
}

@test "a changelog's rows can be taken back from all but one" {
	# +I 1:4, +I 1:7, +I 2:3, -U 1:4 +U 1:5, +I 1:9, -D 1:7, +I 2:8, -D 2:3, -D 2:8
	list="min(v) as lo, max(v) as hi, first(v) as f, last(v) as l, median(v) as m, stddev(v) as s"
	list="$list, count(distinct v) as d, string_agg(v::string) as t, arg_max(v, -v) as a"
	[ "$(changelog 0:1:4 0:1:7 0:2:3 1:1:4 2:1:5 0:1:9 3:1:7 0:2:8 3:2:3 3:2:8 |
		swindow -k k "$list" | ssink -f ndjson)" = \
'{"k":1,"lo":5,"hi":9,"f":5,"l":9,"m":7.0,"s":2.8284271247461903,"d":2,"t":"5,9","a":5}' ]
	changelog 0:1:4 >in.frames
	run bash -c 'swindow "approx_count_distinct(v)" <in.frames 2>&1 >out'
	[ "$status" -eq 2 ]
	[ "$output" = "swindow: error: approx_count_distinct(v) can't take rows back, but script sends a changelog
count(distinct x) can, and is exact" ]
}

@test "what a group of an exact quantile keeps counts against --memory" {
	run bash -c 'seq 1000000 | ssource -f csv --header no - | swindow --memory 2M "median(c1) as m" >out 2>errors'
	[ "$status" -eq 1 ]
	grep -q 'more than --memory allows' errors
	run bash -c 'seq 1000000 | ssource -f csv --header no - | swindow --memory 2M "approx_quantile(c1, 0.5) as m" | ssink -f csv'
	[ "$status" -eq 0 ]
	python3 -c 'import sys; sys.exit(abs(float(sys.argv[1]) - 500000.5) > 500000.5 / 128)' "${lines[1]}"
}
