#!/usr/bin/env bats
# swindow --emit: changes of results while windows are open; groups larger than the memory.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf '%s\n' k,v,at a,1,2024-01-01T00:00:01Z b,2,2024-01-01T00:00:04Z \
		a,3,2024-01-01T00:00:12Z >in.csv
	started=
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

within() { # within COMMAND...: until it succeeds, for 20 s at most
	local i
	for ((i = 0; i < 2000; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		read -rt 0.01 <> <(:) || true
	done
	echo "never: $*"
	return 1
}

# refuses STATUS MESSAGE ARGUMENT...: of the stream in.frames; MESSAGE is the first line, then a hint.
refuses() {
	local status=0 expected=$1 want=$2
	shift 2
	swindow "$@" <in.frames >out 2>errors || status=$?
	echo "$* gives $status: $(cat errors)"
	[ "$status" -eq "$expected" ]
	diff <(printf '%s\n' "$want") <(sed -n 1p errors)
}

# left FILE: what a changelog in csv describes, sorted.
left() {
	python3 - "$1" <<'EOF'
import collections, csv, sys
left = collections.Counter()
rows = csv.reader(open(sys.argv[1]))
next(rows)
for op, *row in rows:
    left[tuple(row)] += 1 if op in ("+I", "+U") else -1
    assert left[tuple(row)] >= 0, (op, row)
for row in sorted(r for r, n in left.items() for _ in range(n)):
    print(",".join(row))
EOF
}

# live ARGUMENT...: out.csv follows what is appended to log.csv.
live() {
	echo k,v,at >log.csv
	ssource --follow -s 'k string, v int, at timestamp' -t at -d 0s log.csv 3>&- |
		swindow "$@" 3>&- | ssink -f csv >out.csv 3>&- &
	started="$started $!"
	within test -s out.csv
}

# appears LINE...: these are the next lines of out.csv.
appears() {
	printf '%s\n' "$@" >>expected
	within cmp expected out.csv || { diff expected out.csv; return 1; }
}

@test "wrong usage is refused with a hint" {
	ssource in.csv >in.frames
	refuses 2 "swindow: error: --emit takes close, changes or a duration like 10s, not 'often'" \
		--emit often -k k
	refuses 2 "swindow: error: --emit's DURATION must be longer than nothing" --emit 0s -k k
	refuses 2 "swindow: error: windows need an event time, and the stream from ssource has none" \
		--emit changes --tumble 1s -k k
}

@test "groups of a stream without an end need --emit or a window" {
	echo k,v,at >log.csv
	local status=0
	swindow -k k 'count(*) as n' < <(exec ssource --follow -s 'k string, v int, at string' log.csv \
		2>source-errors 3>&-) >out 2>errors || status=$?
	[ "$status" -eq 2 ]
	grep -q 'never ends, and without a window there is no result before' errors
	grep -q -- '--emit changes' errors
}

@test "what can't take rows back refuses the changelog of another stage, and names it" {
	ssource in.csv | swindow --emit changes -k k 'count(*) as n' >in.frames
	refuses 2 "swindow: error: approx_count_distinct(n) can't take rows back, but swindow sends a changelog" \
		'approx_count_distinct(n) as d'
	ssource in.csv -t at | swindow --tumble 1s --emit changes -k k 'count(*) as n' >in.frames
	refuses 2 "swindow: error: windows over time can't take rows back, but swindow sends a changelog" \
		--tumble 10s -k k
}

@test "a line changes its group at once" {
	live --emit changes -k k 'count(*) as n, sum(v) as s'
	appears op,k,n,s
	echo a,1,2024-01-01T00:00:01Z >>log.csv
	appears +I,a,1,1
	echo b,2,2024-01-01T00:00:02Z >>log.csv
	appears +I,b,1,2
	printf '%s\n' a,5,2024-01-01T00:00:03Z a,6,2024-01-01T00:00:04Z >two
	cat two >>log.csv # in one write
	appears -U,a,1,1 +U,a,3,12
}

@test "windows tell what changes, and nothing when they close" {
	live --tumble 10s --emit changes -k k 'count(*) as n'
	appears op,k,window_start,window_end,n
	echo a,1,2024-01-01T00:00:01Z >>log.csv
	appears +I,a,2024-01-01T00:00:00Z,2024-01-01T00:00:10Z,1
	echo a,1,2024-01-01T00:00:11Z >>log.csv # closes the first
	appears +I,a,2024-01-01T00:00:10Z,2024-01-01T00:00:20Z,1
	echo a,1,2024-01-01T00:00:02Z >>log.csv # late
	echo a,1,2024-01-01T00:00:12Z >>log.csv
	appears -U,a,2024-01-01T00:00:10Z,2024-01-01T00:00:20Z,1 \
		+U,a,2024-01-01T00:00:10Z,2024-01-01T00:00:20Z,2
}

@test "a session that grows or swallows another is taken back and inserted anew" {
	live --session 5s --lateness 1m --emit changes -k k 'count(*) as n'
	appears op,k,window_start,window_end,n
	echo a,1,2024-01-01T00:00:01Z >>log.csv
	appears +I,a,2024-01-01T00:00:01Z,2024-01-01T00:00:06Z,1
	echo a,1,2024-01-01T00:00:03Z >>log.csv
	appears -D,a,2024-01-01T00:00:01Z,2024-01-01T00:00:06Z,1 \
		+I,a,2024-01-01T00:00:01Z,2024-01-01T00:00:08Z,2
	echo a,1,2024-01-01T00:00:02Z >>log.csv # inside: the same bounds
	appears -U,a,2024-01-01T00:00:01Z,2024-01-01T00:00:08Z,2 \
		+U,a,2024-01-01T00:00:01Z,2024-01-01T00:00:08Z,3
	echo a,1,2024-01-01T00:00:11Z >>log.csv
	appears +I,a,2024-01-01T00:00:11Z,2024-01-01T00:00:16Z,1
	echo a,1,2024-01-01T00:00:07Z >>log.csv # within 5 s of both
	within grep -q ',5$' out.csv
	left out.csv >got
	[ "$(cat got)" = a,2024-01-01T00:00:01Z,2024-01-01T00:00:16Z,5 ]
}

@test "a duration gathers changes; the end tells the last" {
	ssource in.csv in.csv in.csv | swindow --emit 1h -k k 'count(*) as n' | ssink -f csv >out.csv
	left out.csv >got
	diff got <(printf '%s\n' a,6 b,3)
}

@test "of nothing there is a count without keys, and no group with keys" {
	sed -n 1p in.csv >empty.csv
	ssource -s 'k string, v int, at timestamp' empty.csv >in.frames
	swindow --emit changes 'count(*) as n, sum(v) as s' <in.frames | ssink -f csv >got
	diff got <(printf '%s\n' op,n,s +I,0,)
	swindow --emit changes -k k 'count(*) as n' <in.frames | ssink -f csv >got
	diff got <(echo op,k,n)
}

@test "groups that a changelog empties vanish, one net change per batch" {
	# how many keys have a count: keys move from group to group
	printf '%s\n' a,1 a,2 b,3 a,4 b,5 b,6 b,7 >c.csv
	ssource -s 'k string, v int' c.csv | swindow --emit changes -k k 'count(*) as n' |
		swindow --emit changes -k n 'count(*) as keys' | ssink -f csv >out.csv
	left out.csv >got
	diff got <(printf '%s\n' 3,1 4,1)
	echo k,v,at >log2.csv
	ssource --follow -s 'k string, v int, at timestamp' log2.csv 3>&- |
		swindow --emit changes -k k 'count(*) as n' 3>&- |
		swindow --emit changes -k n 'count(*) as keys' 3>&- | ssink -f csv >table.csv 3>&- &
	started="$started $!"
	echo a,1, >>log2.csv
	within grep -q '^+I,1,1$' table.csv
	echo a,1, >>log2.csv
	within grep -q '^+I,2,1$' table.csv
	grep -q '^-D,1,1$' table.csv # no key has a count of one any more
}

@test "applied, the changes are the results, in every shape and mode" {
	ssource 'nexmark:bid?events=30000&disorder=2s' -t dateTime -d 1s >bids.frames
	for window in '' '--tumble 1s' '--hop 3s,1s' '--cumulate 4s,1s' '--session 300ms' \
		'--tumble 1s --lateness 2s'; do
		ssource bids.frames | swindow $window -k auction \
			'count(*) as n, sum(price) as s, max(bidder) as m, avg(price) as a' |
			ssink -f csv | sed 1d | sort >want
		for emit in changes 10ms; do
			ssource bids.frames | swindow $window --emit $emit -k auction \
				'count(*) as n, sum(price) as s, max(bidder) as m, avg(price) as a' |
				ssink -f csv >out.csv
			left out.csv | sort >got
			cmp want got || { echo "$window --emit $emit"; diff want got | head; return 1; }
		done
	done
	[ -s want ]
}

@test "groups of a changelog are those of the table that it describes" {
	ssource 'nexmark:bid?events=30000' >bids.frames
	of='count(*) as c, sum(top) as s, max(top) as m, min(top) as l, median(top) as q,
		count(distinct top) as d, avg(top) as a'
	first='count(*) as n, max(price) as top'
	swindow -k auction "$first" <bids.frames | swindow -k n "$of" | ssink -f csv | sed 1d | sort >want
	swindow --emit changes -k auction "$first" <bids.frames >changes.frames
	for mode in '' '--memory 200K' '--emit changes' '--emit 10ms'; do
		swindow $mode -k n "$of" <changes.frames | ssink -f csv >out.csv
		case $mode in
		--emit*) left out.csv ;;
		*) sed 1d out.csv ;;
		esac | sort >got
		cmp want got || { echo "$mode"; diff want got | head; return 1; }
	done
	[ "$(wc -l <want)" -gt 10 ]
}

# spills ARGUMENT...: the same bytes in 8 MB as in as much as it takes.
spills() {
	local most=${most:-40000}
	ssource big.frames | swindow "$@" | ssink -f csv >want
	ssource big.frames | command time -f %M -o rss swindow --memory 4M "$@" | ssink -f csv >got
	cmp want got
	rss=$(tail -n1 rss)
	echo "$*: $(wc -l <want) lines, $rss KB"
	[[ "$BIN" == *san* ]] || [ "$rss" -lt "$most" ]
}

@test "groups of ten times the memory give the same bytes" {
	python3 -c '
import random
random.seed(7)
print("k,v,at")
for i in range(900000):
    print("%d,%d,%d" % (random.randrange(600000), i % 1000, i * 100 // 900000 * 1000))' >big.csv
	ssource -s 'k int, v int, at timestamp(ms)' -t at big.csv >big.frames
	spills -k k 'count(*) as n, sum(v) as s, min(v) as lo, first(v) as f'
	spills --tumble 50s -k k 'count(*) as n, sum(v) as s, max(v) as hi'
	spills --hop 50s,25s -k k 'count(*) as n, sum(v) as s, max(v) as hi'
	spills --session 2s -k k 'count(*) as n, sum(v) as s, last(v) as l'
	spills -k 'k::string as k' "sum(v) as s, string_agg(v::string, ' ') as t"
}

@test "sessions on disk come back to fire when there is a watermark after all" {
	python3 -c '
print("k,v,at")
for i in range(40000):
    print("%0100d,%d,%d" % (i, i, 1000 * (i // 2)))' >s.csv
	ssource -s 'k string, v int, at timestamp(ms)' -t at -d 0s s.csv >s.frames
	swindow --session 2s -k k 'count(*) as n' <s.frames | ssink -f csv >want
	swindow --memory 3M --session 2s -k k 'count(*) as n' <s.frames | ssink -f csv >got
	cmp want got
	[ "$(wc -l <got)" -eq 40001 ]
}

@test "changes must fit in the memory, and one group too" {
	seq 300000 | ssource -f lines - >in.frames
	refuses 1 "swindow: error: the groups take $(swindow --memory 4M --emit changes -k line <in.frames \
		2>&1 >out | sed 's/.*take \([0-9]*\) MB.*/\1/;q') MB, more than --memory allows" \
		--memory 4M --emit changes -k line
	[[ "$(cat errors)" == *"--memory"* ]]
	refuses 1 "swindow: error: the groups take $(swindow --memory 4M 'count(distinct line)' <in.frames \
		2>&1 >out | sed 's/.*take \([0-9]*\) MB.*/\1/;q') MB, more than --memory allows" \
		--memory 4M 'count(distinct line)'
}
