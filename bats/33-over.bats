#!/usr/bin/env bats
# swindow --over: rows with aggregates over those around them.  tests/over_oracle.py has the rest.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	cat > in.csv <<'CSV'
k,v,at
a,1,2024-01-01T00:00:01Z
b,5,2024-01-01T00:00:02Z
a,3,2024-01-01T00:00:03Z
a,3,2024-01-01T00:00:03Z
b,7,2024-01-01T00:00:09Z
CSV
}

# fails TEXT ARGUMENT...: swindow over in.csv exits 2 and says TEXT.
fails() {
	local text=$1
	shift
	ssource in.csv -t at > in.frames
	run swindow "$@" < in.frames
	[ "$status" -eq 2 ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

# over ARGUMENT...: what swindow makes of in.csv, without the time.
over() {
	ssource in.csv -t at | swindow "$@" | smap '* except (at)' | ssink -f csv
}

@test "wrong usage says what there is" {
	fails "--over takes all, group, a number of rows or a duration like 1h, not 'some'" --over some 'sum(v)'
	fails "--over N takes at least one row" --over 0 'sum(v)'
	fails "--over N takes at least one row" --over -1 'sum(v)'
	fails "--over N takes at most 2147483647 rows" --over 3000000000 'sum(v)'
	fails "--over and --lateness don't go together" --over all --lateness 1m 'sum(v)'
	fails "which aggregates?" --over all -k k
	fails "--over and --emit don't go together" --over all --emit changes 'sum(v)'
	fails "--over all has no windows" --over all --tumble 1m 'sum(v)'
	fails "knows --tumble, --hop and --cumulate only" --over group --session 1m 'sum(v)'
	fails "--exclude-current is for --over" --exclude-current 'sum(v)'
	fails "every column of the input comes first" --over all '*'
	fails "lag(): of which column?" --over all 'lag() as x'
	fails "the distance is a number of rows" --over all 'lag(v, -1) as x'
	fails "row_number() has no argument" --over all 'row_number(v) as x'
	fails "can't let go of the rows that leave a frame" --over 5 'approx_count_distinct(v) as x'
	fails "row_number() needs rows in an order: swindow --over" -k k 'row_number() as n'
	run bash -c "set -o pipefail; ssource in.csv | smap 'lag(v) as x' | ssink"
	[[ "$output" == *"lag() needs rows in an order: swindow --over"* ]]
	run bash -c "set -o pipefail; ssource in.csv | swindow --over 1h 'sum(v) as s' | ssink"
	[ "$status" -ne 0 ]
	[[ "$output" == *"--over DURATION needs an event time, and the stream from ssource has none"* ]]
}

@test "what needs rows to come is refused where the stream never ends" {
	run bash -c "ssource nexmark:bid | swindow --over group 'count(*) as n'"
	[ "$status" -eq 2 ]
	[[ "$output" == *"--over group needs rows that are still to come"*"--over group --tumble 1m"* ]]
	run bash -c "ssource nexmark:bid | swindow --over all 'lead(price) as p'"
	[ "$status" -eq 2 ]
	[[ "$output" == *"lead() needs rows that are still to come"*"lag() looks back instead"* ]]
}

@test "a changelog is refused, with who sends it" {
	run bash -c "ssource in.csv | swindow -k k --emit changes 'count(*) as n' | swindow --over all 'sum(n) as s'"
	[ "$status" -eq 2 ]
	[[ "$output" == *"--over can't take rows back, but swindow sends a changelog"* ]]
}

@test "running totals, the last rows, a span of time with peers, a share of the whole" {
	[ "$(over --over all -k k 'sum(v) as s, row_number() as n')" = "k,v,s,n
a,1,1,1
b,5,5,1
a,3,4,2
a,3,7,3
b,7,12,2" ]
	[ "$(over --over 2 -k k 'sum(v) as s, max(v) as m')" = "k,v,s,m
a,1,1,1
b,5,5,5
a,3,4,3
a,3,6,3
b,7,12,7" ]
	[ "$(over --over 1s 'sum(v) as s')" = "k,v,s
a,1,1
b,5,6
a,3,11
a,3,11
b,7,7" ]
	[ "$(over --over group -k k '100.0 * v / sum(v) as share')" = "k,v,share
a,1,14.285714285714286
b,5,41.666666666666664
a,3,42.857142857142854
a,3,42.857142857142854
b,7,58.333333333333336" ]
}

@test "ranks, what came before and what comes next" {
	[ "$(over --over all -k k 'rank() as r, dense_rank() as d, v - lag(v) as step, lag(v, 2, 0) as far')" = \
		"k,v,r,d,step,far
a,1,1,1,,0
b,5,1,1,,0
a,3,2,2,2,0
a,3,2,2,0,1
b,7,2,2,2,0" ]
	[ "$(over --over all -k k 'lead(v) as next, lead(v, 2, -1) as far')" = "k,v,next,far
a,1,3,3
b,5,7,-1
a,3,3,-1
a,3,,-1
b,7,,-1" ]
}

@test "rows of equal time keep their order, also when one of them is left out" {
	printf 's,at\n' > ties.csv
	for s in x y z w; do echo "$s,2024-01-01T00:00:01Z" >> ties.csv; done
	for over in 1s group; do
		ssource ties.csv -t at |
			swindow --over $over --exclude-current "string_agg(s, '') as t, last(s) as l" |
			smap 's, t, l' | ssink -f csv > got
		[ "$(cat got)" = "s,t,l
x,yzw,w
y,xzw,w
z,xyw,w
w,xyz,z" ]
	done
}

@test "random questions get SQLite's answers" {
	run env ROUNDS=20 python3 "$top/tests/over_oracle.py"
	[ "$status" -ne 77 ] || skip "$output"
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "an item named like a column takes its place" {
	[ "$(over --over all 'v * 2 as v, count(*) as n')" = "k,v,n
a,2,1
b,10,2
a,6,3
a,6,4
b,14,5" ]
}

@test "all rows of a window, with its bounds" {
	[ "$(over --over group --tumble 5s -k k 'count(*) as n' | cut -d, -f1,2,4,5)" = "k,v,window_end,n
a,1,2024-01-01T00:00:05Z,3
b,5,2024-01-01T00:00:05Z,1
a,3,2024-01-01T00:00:05Z,3
a,3,2024-01-01T00:00:05Z,3
b,7,2024-01-01T00:00:10Z,1" ]
	[ "$(over --over group --hop 10s,5s 'count(*) as n' | cut -d, -f1,2,4,5 | tail -n 4)" = "\
a,3,2024-01-01T00:00:10Z,5
a,3,2024-01-01T00:00:10Z,5
b,7,2024-01-01T00:00:10Z,5
b,7,2024-01-01T00:00:15Z,1" ]
}

@test "rows wait for the watermark; late ones are counted or kept" {
	printf 'v,at\n1,2024-01-01T00:00:05Z\n2,2024-01-01T00:00:01Z\n' > late.csv
	for i in {1..8200}; do echo "3,2024-01-01T00:01:00Z"; done >> late.csv
	echo 4,2024-01-01T00:00:02Z >> late.csv
	ssource late.csv -t at -d 1s | swindow --over all --late late.frames 'sum(v) as s' | ssink -f csv > out
	[ "$(sed -n 2,4p out | cut -d, -f1,3)" = $'2,2\n1,3\n3,6' ]
	[ "$(ssource late.frames | ssink -f csv | tail -n 1)" = 4,2024-01-01T00:00:02Z ]
}

@test "--memory is kept to" {
	run bash -c "set -o pipefail; ssource 'nexmark:bid?events=200000' | swindow --over group --memory 1M 'count(*) as n' | ssink null:"
	[ "$status" -ne 0 ]
	[[ "$output" == *"the rows of the frames take"*"more than --memory allows"* ]]
}

@test "bash and runnel agree, also at -p 3, and after a kill" {
	ssource 'nexmark:bid?events=40000' | ssink bids.ndjson
	for over in all 20 10s group; do
		cat > job <<JOB
ssource bids.ndjson -s 'auction int, price int, dateTime timestamp' -t dateTime -d 1s |
  swindow --over $over -k auction 'sum(price) as total, row_number() as n, lag(price) as before' |
  ssink out.csv
JOB
		bash job
		sort out.csv > expected
		rm out.csv
		timeout 60 runnel -q -p 3 --state state --checkpoint 20ms job
		sort out.csv | diff expected -
		rm out.csv
	done
}
