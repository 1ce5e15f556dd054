#!/usr/bin/env bats
# sjoin as a user types it.  Rows are read back by tests/tools/frames.py, not by the project.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' id,carrier,delay 1,AA,5 2,UA,6 3,,7 4,ZZ,8 5,AA,9 >flights.csv
	printf '%s\n' carrier,name,delay AA,American,1 UA,United,2 DL,Delta,3 >airlines.csv
	printf '%s\n' k,at,v a,2024-01-01T00:00:01Z,1 b,2024-01-01T00:00:04Z,2 \
		a,2024-01-01T00:00:12Z,3 >left.csv
	printf '%s\n' b,at,w a,2024-01-01T00:00:00Z,10 a,2024-01-01T00:00:03Z,20 \
		c,2024-01-01T00:00:04Z,30 a,2024-01-01T00:00:11Z,40 >right.csv
}

frames() {
	python3 "$root/tests/tools/frames.py" "$@"
}

# A join of the flights that must fail: standard output and standard error go to files.
refused() {
	run bash -c 'ssource flights.csv | sjoin "$@" >out 2>errors' - "$@"
	echo "$* gives $status: $(cat errors)"
	grep -q '^sjoin: error: ' errors
}

# Rows as words, times in seconds since the start of 2024.
timed() {
	ssource -t at left.csv | sjoin "$@" <(ssource -t at right.csv) |
		python3 -c '
import sys
sys.path.insert(0, sys.argv[1])
import frames
s = frames.read(sys.stdin.buffer)
short = lambda v, t: (v - 1704067200000000) // 1000000 if t == "timestamp" and v is not None else v
for row in s.rows:
    print(*[short(v, t) for v, t in zip(row, s.types)])' "$root/tests/tools"
}

@test "an input that is no frame stream is refused at once" {
	run bash -c 'sjoin -k carrier airlines.csv <flights.csv >out 2>errors'
	[ "$status" -eq 2 ]
	grep -q 'not a frame stream' errors
}

@test "a column that isn't there is named, with what there is" {
	refused -k carier airlines.csv
	[ "$status" -eq 2 ]
	grep -q "LEFT has no column 'carier'" errors
	grep -q "did you mean 'carrier'" errors
}

@test "keys of types that never meet are refused" {
	refused -k 'id = carrier' airlines.csv
	[ "$status" -eq 2 ]
	grep -q "'id' is int, but 'carrier' is string" errors
}

@test "a malformed -k shows where" {
	refused -k 'carrier = ' airlines.csv
	[ "$status" -eq 2 ]
	grep -q '^sjoin: error: -k:1:11:' errors
	grep -q '^          ^$' errors
}

@test "no keys need --cross" {
	refused airlines.csv
	[ "$status" -eq 2 ]
	grep -q -- '--cross' errors
	run bash -c "ssource flights.csv | sjoin --cross airlines.csv |
		python3 $root/tests/tools/frames.py"
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 15 ]
	[ "${lines[1]}" = '[1, "AA", 5, "UA", "United", 2]' ]
}

@test "only one way to join, and its options belong to it" {
	for options in '--static --as-of' '--tumble 1s --within 1s,2s' '--tolerance 1s' '--offset 1s' \
		'--late x' '--within 2s,1s' '--within 1s' '--tumble 0s' '--hop 1s,2s' \
		'--cumulate 5s,2s' '--as-of --kind full' '--kind outer' '--cross'; do
		# shellcheck disable=SC2086
		refused -k carrier $options airlines.csv
		[ "$status" -eq 2 ]
	done
}

@test "a join over time needs an event time" {
	refused -k carrier --tumble 1m airlines.csv
	[ "$status" -eq 2 ]
	grep -q 'has no event time' errors
}

@test "a RIGHT that isn't there is told, and none at all" {
	refused -k carrier nowhere.csv
	[ "$status" -eq 5 ]
	grep -q 'nowhere.csv' errors
	refused -k carrier
	[ "$status" -eq 2 ]
	grep -q 'no RIGHT' errors
}

@test "rows that don't fit --memory are told, not taken, where the disk is no help" {
	{
		echo k,at,w
		seq -f 'a,2024-01-01T00:00:01Z,%.0f' 1 20000
	} >many.csv
	run bash -c 'ssource -t at left.csv |
		sjoin --memory 100k -k k --within 0s,1h <(ssource -t at many.csv) >out 2>errors'
	[ "$status" -eq 2 ]
	grep -q '^sjoin: error: .*--memory' errors
}

@test "a failing left side is told as that, and no END is sent" {
	run bash -c 'ssource flights.csv | head -c 150 | sjoin -k carrier airlines.csv 2>errors >out'
	[ "$status" -eq 3 ]
	grep -q 'sjoin: error' errors
	run frames --kinds <out
	[[ "$output" != *END* ]]
}

@test "an inner join with a file: left order, right key dropped, name clash prefixed" {
	run bash -c 'ssource flights.csv | sjoin -k carrier airlines.csv >out.frames'
	[ "$status" -eq 0 ]
	run frames <out.frames
	[ "${lines[0]}" = '[1, "AA", 5, "American", 1]' ]
	[ "${lines[1]}" = '[2, "UA", 6, "United", 2]' ]
	[ "${lines[2]}" = '[5, "AA", 9, "American", 1]' ]
	[ "${#lines[@]}" -eq 3 ]
	run frames --schema <out.frames
	[ "$output" = 'id int, carrier string, delay int, name string, right_delay int' ]
}

@test "the other kinds: null keys match nothing, the side that exists gives the key" {
	kind() {
		ssource flights.csv | sjoin -k carrier --kind "$1" airlines.csv | frames
	}
	[ "$(kind left)" = '[1, "AA", 5, "American", 1]
[2, "UA", 6, "United", 2]
[3, null, 7, null, null]
[4, "ZZ", 8, null, null]
[5, "AA", 9, "American", 1]' ]
	[ "$(kind right)" = '[1, "AA", 5, "American", 1]
[2, "UA", 6, "United", 2]
[5, "AA", 9, "American", 1]
[null, "DL", null, "Delta", 3]' ]
	[ "$(kind full | tail -n 1)" = '[null, "DL", null, "Delta", 3]' ]
	[ "$(kind full | wc -l)" -eq 6 ]
	[ "$(kind semi)" = '[1, "AA", 5]
[2, "UA", 6]
[5, "AA", 9]' ]
	[ "$(kind anti)" = '[3, null, 7]
[4, "ZZ", 8]' ]
}

@test "-w is part of the condition and uses output names" {
	run bash -c "ssource flights.csv |
		sjoin -k carrier --kind left -w 'delay > 5 and right_delay < 5' --static airlines.csv |
		python3 $root/tests/tools/frames.py"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = '[1, "AA", 5, null, null]' ]
	[ "${lines[1]}" = '[2, "UA", 6, "United", 2]' ]
	[ "${lines[4]}" = '[5, "AA", 9, "American", 1]' ]
}

@test "--prefix names the clash" {
	run bash -c "ssource flights.csv | sjoin -k carrier --prefix other_ airlines.csv |
		python3 $root/tests/tools/frames.py --schema"
	[ "$output" = 'id int, carrier string, delay int, name string, other_delay int' ]
}

@test "a window join gives one window's bounds" {
	run timed -k 'k = b' --tumble 10s
	[ "$output" = 'a 1 1 0 10 0 10
a 1 1 3 20 0 10
a 12 3 11 40 10 20' ]
	run timed -k 'k = b' --kind full --tumble 10s
	[ "${#lines[@]}" -eq 5 ]
	[[ "$output" == *'b 4 2 None None 0 10'* ]]
	[[ "$output" == *'c None None 4 30 0 10'* ]]
}

@test "hopping and growing windows" {
	run timed -k 'k = b' --hop 4s,2s
	[ "$output" = 'a 1 1 0 10 -2 2
a 1 1 0 10 0 4
a 1 1 3 20 0 4
a 12 3 11 40 10 14' ]
	run timed -k 'k = b' --cumulate 10s,5s
	[ "$output" = 'a 1 1 0 10 0 5
a 1 1 3 20 0 5
a 1 1 0 10 0 10
a 1 1 3 20 0 10
a 12 3 11 40 10 15
a 12 3 11 40 10 20' ]
}

@test "an interval join" {
	run timed -k 'k = b' --within -1s,2s
	[ "$(sort <<<"$output")" = 'a 1 1 0 10
a 1 1 3 20
a 12 3 11 40' ]
	run timed -k 'k = b' --kind anti --within 0s,0s
	[ "${#lines[@]}" -eq 3 ]
}

@test "an as-of join takes the latest row that isn't too old" {
	run timed -k 'k = b' --as-of --kind left
	[ "$output" = 'a 1 1 0 10
b 4 2 None None
a 12 3 11 40' ]
	run timed -k 'k = b' --as-of --tolerance 500ms
	[ "$status" -eq 0 ]
	[ "$output" = '' ]
}

@test "--late is a whole frame stream, and what comes in time is not in it" {
	{
		echo k,at,v
		for _ in $(seq 9000); do echo a,2024-01-01T00:01:00Z,1; done
		echo a,2024-01-01T00:00:01Z,99
	} >early.csv
	sed '1s/k,/b,/; $d' early.csv >other.csv
	run bash -c 'ssource -t at -d 0s early.csv |
		sjoin -k "k = b" --kind semi --within 0s,0s --late late.frames \
			<(ssource -t at -d 0s other.csv) >out.frames'
	[ "$status" -eq 0 ]
	run frames <out.frames
	[[ "$output" != *', 99]'* ]]
	run frames --kinds <late.frames
	[[ "$output" == HELLO*END ]]
}

@test "-w @FILE takes the condition from a file" {
	printf '%s\n' '-- the late ones' 'delay > 5' 'and right_delay < 5' >cond.sql
	run bash -c "ssource flights.csv | sjoin -k carrier -w @cond.sql airlines.csv |
		python3 $root/tests/tools/frames.py"
	[ "$output" = '[2, "UA", 6, "United", 2]
[5, "AA", 9, "American", 1]' ]
	echo 'dely > 5' >cond.sql
	refused -k carrier -w @cond.sql airlines.csv
	[ "$status" -eq 2 ]
	grep -q 'cond.sql:1:1' errors
}

@test "rows that come at a join's end are in what is grouped and sorted behind it" {
	printf 'k,a\n1,x\n2,y\n' > l.csv
	printf 'k,b\n2,p\n3,q\n4,q\n' > r.csv
	for kind in right full; do
		ssource l.csv | sjoin -k k --kind $kind r.csv > joined.frames
		ssink -f csv < joined.frames | tail -n +2 | sort > rows
		[ "$(swindow -k 'k, a, b' < joined.frames | ssink -f csv | tail -n +2 | sort)" = "$(cat rows)" ]
		[ "$(ssort k < joined.frames | ssink -f csv | tail -n +2 | sort)" = "$(cat rows)" ]
		[ "$(swindow 'count(*) as n' < joined.frames | ssink -f csv | tail -n 1)" = "$(wc -l < rows)" ]
	done
}
