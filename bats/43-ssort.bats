#!/usr/bin/env bats
# ssort: everything in order, the first rows, changelogs, event-time order, little memory.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf '%s\n' id,k,v,at 1,a,5,2024-01-01T00:00:01Z 2,b,,2024-01-01T00:00:05Z \
		3,a,7,2024-01-01T00:00:02Z 4,b,5,2024-01-01T00:00:03Z 5,a,7,2024-01-01T00:00:09Z >d.csv
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

# gives WANT ARGUMENT...: ids (and numbers) of the rows of d.csv through ssort, with spaces between.
gives() {
	local want=$1 got
	shift
	got=$(ssource d.csv -t at | ssort "$@" | ssink -f csv | sed 1d | awk -F, '{ printf "%s%s ", $1, $5 ? ":" $5 : "" }')
	[ "$got" = "$want " ] || { echo "$* gives $got"; return 1; }
}

# refuses MESSAGE ARGUMENT...: exit 2, nothing comes out; MESSAGE is the first line.
refuses() {
	local want=$1 status=0
	shift
	ssource d.csv >d.frames
	ssort "$@" <d.frames >out 2>errors || status=$?
	[ "$status" -eq 2 ]
	diff <(printf '%s\n' "$want") <(sed -n 1p errors)
	[ "$(wc -l <errors)" -gt 1 ] # something that helps
	[[ "$(python3 "$root/tests/tools/frames.py" --kinds <out)" =~ ^(HELLO\ (TICK\ )?ERROR)?$ ]]
}

@test "wrong usage exits 2 and says what to do instead" {
	refuses "ssort: error: nothing to do: neither an order nor -n was given"
	refuses "ssort: error: order:1:1: the input has no column 'vv'" 'vv desc'
	refuses "ssort: error: order:1:3: expected ',', asc, desc, nulls or the end, not 'down'" 'v down'
	refuses "ssort: error: one order, not 2; the second is 'desc'" v desc
	refuses "ssort: error: -k needs -n: the first N rows of every key" -k k v
	refuses "ssort: error: -k:1:1: the input has no column 'kk'" -k kk -n 1 v
	refuses "ssort: error: --number: the input has a column 'id' already" --number id v
	refuses "ssort: error: --by-time: the rows of ssource have no event time" --by-time
	refuses "ssort: error: --late: no row is ever late here" -n 1 -k k --late l.frames v
	for bad in '-n 0 v' '-n -1 v' '-n x v' '--by-time v' '--ties v' '--ties -n 3' '--late x -n 2 v'; do
		run bash -c "ssort $bad 2>&1 >out <d.frames"
		[ "$status" -eq 2 ]
		[[ "$output" == "ssort: error: "* ]]
	done
}

@test "what has no order, and what has no end, can't be sorted" {
	echo '{"a":{"b":1}}' >any.ndjson
	run bash -c 'ssource any.ndjson | ssort a | ssink null:'
	[[ "$output" == *"ssort: error: order:1:1: type any has no order"* ]]
	[[ "$output" == *"cast it: a.b::int, a.b::string"* ]]
	[ "$(ssource any.ndjson | ssort 'a.b::int' | ssink)" = '{"a":{"b":1}}' ]
	run bash -c 'ssource nexmark:bid | ssort price >out; exit ${PIPESTATUS[1]}'
	[ "$status" -eq 2 ]
	[[ "$output" == *"ssort: error: ssource has no end, so its rows can't all be sorted"* ]]
	[[ "$output" == *"-n N keeps the first N, --by-time puts rows in order"* ]]
}

@test "orders: directions, nulls, expressions, ties as they came" {
	gives "2 1 4 3 5" v
	gives "3 5 1 4 2" 'v desc'
	gives "2 3 5 1 4" 'v desc nulls first'
	gives "1 4 3 5 2" 'v nulls last'
	gives "5 3 1 4 2" 'k, v desc, id desc'
	gives "3 5 1 4 2" 'coalesce(v, 0) * 2 desc'
	gives "1:1 3:2 4:3 2:4 5:5" --number n at
	printf 'k, -- by key first\nv desc' >order.sql
	gives "3 5 1 4 2" @order.sql
}

@test "the first rows: overall, per key, with ties, numbered" {
	gives "3 5" -n 2 'v desc'
	gives "3:1 5:2 1:3" -n 3 --number n 'v desc'
	gives "3:1 5:1 1:3 4:3" -n 3 --ties --number n 'v desc'
	gives "3 5 4 2" -k k -n 2 'v desc'
	gives "5 2" -k k -n 1 'at desc'
	gives "5:1 3:2 1:3 2:1 4:2" -k 'upper(k)' -n 9 --number n 'at desc'
	gives "1:1 2:2 4:1 5:2" -n 2 -k 'id > 3' --number n
}

@test "head ends an endless pipeline, with status 0 all along" {
	set -o pipefail
	[ "$(ssource nexmark:bid | ssort -n 3 | ssink -f csv | wc -l)" -eq 4 ]
	ssource nexmark:bid | ssort -n 3 --number n | smap n | ssink -f csv >out
	diff - out <<<$'n\n1\n2\n3'
}

@test "a file of ten times --memory: the same rows, and little memory" {
	ssource 'nexmark:bid?events=260000&seed=5' >bids.frames
	[ "$(stat -c %s bids.frames)" -gt $((40 << 20)) ]
	TMPDIR=$PWD /usr/bin/time -f %M -o rss ssort --memory 4M 'price desc, extra' <bids.frames >small
	ssort --memory 1G 'price desc, extra' <bids.frames | ssink -f csv | md5sum >large
	ssink -f csv <small | md5sum | diff - large
	# A program without rows takes 10 MB, under a sanitizer more.
	echo "$(cat rss) kB"
	[[ "${BIN:-}" == *san* ]] || [ "$(cat rss)" -lt $((24 << 10)) ]
	[ -z "$(ls | grep runnel-)" ]
	TMPDIR=/nonexistent run ssort --memory 4M price <bids.frames
	[ "$status" -eq 5 ]
	[[ "$output" == *"/nonexistent"*"TMPDIR names another directory"* ]]
}

@test "what can't be spilled says so" {
	ssource 'nexmark:bid?events=30000' | { run ssort --memory 1M -n 100000 price; [ "$status" -eq 1 ]; [[ "$output" == *"more than --memory allows"* ]]; }
}

@test "windows: the first of each, as it closes" {
	ssource d.csv -t at | swindow --tumble 3s -k k 'count(*) as n' |
		ssort -k window_end -n 1 --ties --number rank 'n desc' | ssink -f csv >out
	diff - out <<-'END'
	k,window_start,window_end,n,rank
	a,2024-01-01T00:00:00Z,2024-01-01T00:00:03Z,2,1
	b,2024-01-01T00:00:03Z,2024-01-01T00:00:06Z,2,1
	a,2024-01-01T00:00:09Z,2024-01-01T00:00:12Z,1,1
	END
	# The event time stays: a further window takes it.
	ssource d.csv -t at | swindow --tumble 3s -k k 'count(*) as n' |
		ssort -k window_end -n 1 'n desc' | swindow --tumble 6s 'sum(n) as n' | ssink -f csv |
		cut -d, -f3 | tr '\n' ' ' >out
	[ "$(cat out)" = "n 4 1 " ]
}

# follow ARGUMENT...: ssort behind a file that grows, its rows in out.
follow() {
	printf 'id,k,v\n1,a,5\n' >grows.csv
	mkfifo one two
	: >out
	ssource --follow grows.csv >one 3>&- &
	source=$!
	ssort "$@" <one >two 3>&- &
	ssink -f csv <two >out 3>&- &
	sink=$!
	started="$source $! $sink"
	within grep -q 1,a,5 out
}

drained() {
	kill -INT "$source"
	wait "$source" && wait "$sink"
}

@test "the latest row per key of a stream without end is a changelog" {
	follow -k k -n 1 'v desc'
	echo 2,b,1 >>grows.csv
	within grep -q 2,b,1 out
	echo 3,a,4 >>grows.csv
	echo 4,a,6 >>grows.csv
	within grep -q 4,a,6 out
	drained
	diff - out <<-'END'
	op,id,k,v
	+I,1,a,5
	+I,2,b,1
	-U,1,a,5
	+U,4,a,6
	END
}

@test "numbers of a stream without end: who moves is told again" {
	follow -n 2 --number n 'v desc'
	echo 2,b,7 >>grows.csv
	within grep -q '+I,1,a,5,2' out
	echo 3,a,6 >>grows.csv
	within grep -q '+U,3,a,6,2' out
	echo 4,a,6 >>grows.csv
	drained
	diff - out <<-'END'
	op,id,k,v,n
	+I,1,a,5,1
	-U,1,a,5,1
	+U,2,b,7,1
	+I,1,a,5,2
	-U,1,a,5,2
	+U,3,a,6,2
	END
}

@test "event-time order: as the watermark allows, late rows aside" {
	ssource d.csv -t at | ssort --by-time | ssink -f csv | cut -d, -f1 | tr '\n' ' ' >out
	[ "$(cat out)" = "id 1 3 4 2 5 " ]
	# Rows by fives, so that some come behind the watermark that those before have moved.
	for i in $(seq 0 19999); do
		echo "$i,2024-01-01T00:00:$(printf %02d $((i / 10000 * 30 + i * 7 % 10)))Z"
	done | sed '1i id,at
	$a 20000,2024-01-01T00:00:00Z' >late.csv
	ssource late.csv -t at -d 10s | ssort --by-time --late late.frames >in_time
	ssink -f csv <late.frames >late.out
	ssink -f csv <in_time >out
	[ "$(tail -n +2 late.out)" = "20000,2024-01-01T00:00:00Z" ]
	[ "$(wc -l <out)" -eq 20001 ]
	tail -n +2 out | sort -s -t, -k2,2 -c
}

@test "random files are sorted as SQLite sorts them" {
	python3 "$root/tests/sort_oracle.py" --rounds 3
}

@test "under runnel: spread by key, the plan says what is kept, the result is the same" {
	ssource 'nexmark:bid?events=20000' | ssink bids.ndjson
	echo "ssource bids.ndjson | ssort -k auction -n 2 --number place 'price desc' |
		ssink -f csv --header no out/" >p.sh
	runnel --plan -p 2 p.sh >plan
	grep -q "ssort *x2" plan
	grep -q "the first 2 rows by price desc per auction" plan
	bash p.sh
	cat out/part-* | sort >alone
	rm -r out
	runnel -q -p 2 --state state p.sh
	cat out/part-* | sort | diff alone -
	runnel --plan -p 2 -c "ssource bids.ndjson | ssort price | ssink x.csv" >plan
	grep -q "ssort *x1" plan
	grep -q "all rows, by price (on disk beyond --memory)" plan
}
