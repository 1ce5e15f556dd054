#!/usr/bin/env bats
# smatch as a user types it; that its matches are the right ones, tests/match_oracle.py says.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export NO_COLOR=1 LC_ALL=C XDG_STATE_HOME=$PWD/home
	cat >cards.csv <<-'END'
	card,amount,at
	1,0.5,2024-01-01T00:00:01Z
	1,600,2024-01-01T00:00:05Z
	2,0.2,2024-01-01T00:00:06Z
	1,700,2024-01-01T00:00:07Z
	1,3,2024-01-01T00:00:08Z
	2,0.1,2024-01-01T00:00:10Z
	2,900,2024-01-01T00:20:10Z
	END
}

cards() { # cards OPTIONS...: what smatch makes of them, as csv
	ssource -t at cards.csv | smatch "$@" | ssink -f csv
}

@test "a row a match, with its key and measures" {
	diff - <(cards -k card --pattern 'SMALL BIG+' --define 'SMALL: amount < 1; BIG: amount > 500' --within 10m \
		'first(SMALL.at) as at, count(BIG.*) as n, last(BIG.amount) as amount') <<-'END'
	card,at,n,amount
	1,2024-01-01T00:00:01Z,2,700.0
	END
	diff - <(cards -k 'card % 2 as odd' --pattern 'A{2}' 'round(sum(amount), 1) as s, match_number() as nr') <<-'END'
	odd,s,nr
	1,600.5,1
	1,703.0,2
	0,0.3,1
	END
	diff - <(cards -w 'amount < 1' --pattern 'A B' --define 'B: B.amount < A.amount' 'A.card as a, B.card as b') <<-'END'
	a,b
	1,2
	END
}

@test "every row of a match, excluded ones left out; measures run, or are final" {
	diff - <(cards -k card --pattern 'SMALL {- BIG -} BIG*' --define 'SMALL: amount < 1; BIG: amount > 500' \
		--all-rows 'classifier() as is, count(*) as n, final(count(*)) as of') <<-'END'
	card,amount,at,is,n,of
	1,0.5,2024-01-01T00:00:01Z,SMALL,1,3
	1,700.0,2024-01-01T00:00:07Z,BIG,3,3
	2,0.1,2024-01-01T00:00:10Z,SMALL,1,2
	END
}

@test "match_time() is the event time, and windows behind wait for what has begun" {
	got=$(cards -k card --pattern 'A B' --within 1h 'match_time() as done' | wc -l)
	[ "$got" -eq 4 ]
	ssource -t at -d 0s cards.csv | smatch -k card --pattern 'SMALL BIG+' --within 1h \
		--define 'SMALL: amount < 1; BIG: amount > 500' 'match_time() as done' |
		swindow --tumble 1m 'count(*) as n' >windows.frames 2>late
	[ ! -s late ]
	diff - <(ssink -f csv --header no <windows.frames) <<-'END'
	2024-01-01T00:00:00Z,2024-01-01T00:01:00Z,1
	2024-01-01T00:20:00Z,2024-01-01T00:21:00Z,1
	END
	run bash -c "ssource -t at cards.csv | smatch --pattern A 'A.amount' | swindow --tumble 1m 'count(*)' | ssink"
	[ "$status" -ne 0 ]
	[[ "$output" = *"swindow: error: "* ]]
}

@test "where the search goes on" {
	printf '%s\n' x 1 2 3 4 5 6 >x.csv
	rising() { ssource x.csv | smatch --pattern 'A B C' --after-match "$1" 'A.x as a, C.x as c' | ssink -f csv --header no |
		tr '\n' ' '; }
	[ "$(rising last)" = "1,3 4,6 " ]
	[ "$(rising next)" = "1,3 2,4 3,5 4,6 " ]
	[ "$(rising B)" = "1,3 2,4 3,5 4,6 " ]
	[ "$(rising last:C)" = "1,3 3,5 " ]
	run bash -c "ssource x.csv | smatch --pattern 'A B' --after-match A 'A.x' | ssink"
	[ "$status" -ne 0 ]
	[[ "$output" = *"smatch: error: --after-match: the match begins with A, so the next one would be the same again"* ]]
}

@test "late rows are counted, or kept" {
	printf '%s\n' at,a 2024-01-01T00:00:10Z,1 2024-01-01T00:00:20Z,2 >one.csv
	{
		cat one.csv
		yes 2024-01-01T00:00:30Z,3 | head -n 8190
		echo 2024-01-01T00:00:05Z,4
	} >late.csv
	ssource -t at -d 0s late.csv | smatch --pattern 'A B' --late late.frames 'A.a as x, B.a as y' 2>errors |
		ssink -f csv --header no out.csv
	[ "$(head -n 1 out.csv)" = 1,2 ]
	[ "$(ssource late.frames | ssink -f csv --header no)" = 2024-01-01T00:00:05Z,4 ]
}

@test "wrong patterns, definitions, measures and options are shown with their place" {
	while IFS='|' read -r status_wanted options message; do
		status=0
		ssource -t at cards.csv >cards.frames
		eval "smatch $options" <cards.frames >out 2>errors || status=$?
		echo "$options gives $status"
		cat errors
		[ "$status" -eq "$status_wanted" ]
		[ "$(head -n 1 errors)" = "smatch: error: $message" ]
	done <<-'END'
	2|--pattern 'A (B' x|--pattern:1:3: the pattern ends before this is closed
	2|--pattern 'A )' x|--pattern:1:3: this ) closes nothing
	2|--pattern 'A**' x|--pattern:1:3: a quantifier behind a quantifier: put the first in parentheses
	2|--pattern 'A{3,1}' x|--pattern:1:2: a count is {2}, {2,}, {,3} or {2,3}, up to 1000
	2|--pattern '' x|--pattern is empty
	2|--pattern 'A{1000} B{1000} (A{900}){10}' x|--pattern: written out, the pattern has more than 8192 steps
	2|--pattern 'A B' --define 'C: amount > 1' x|--define: the pattern has no variable 'C'
	2|--pattern 'A' --define 'A amount > 1' x|--define 'A amount > 1': a definition is NAME: condition
	2|--pattern 'A' --define 'A: amount > ' x|--define A:1:10: expected a value, but the text ends here
	2|--pattern 'A' --define 'A: amont > 1' amount|--define A:1:2: the input has no column 'amont'
	2|--pattern 'A' --define 'A: amount' amount|--define A: a condition is true or false, not float
	2|--pattern 'A' 'sum(A.*)'|measures:1:5: the rows of a variable can only be counted: count(A.*)
	2|--pattern 'A' 'first(A.amount + card)'|measures:1:18: columns of different variables in one call
	2|--pattern 'A' 'amount, card as amount'|two columns would be called 'amount'
	2|--pattern 'A' --subset 'U = A, B' amount|--subset 'U = A, B': it looks like U = (A, B)
	2|--pattern 'A' --after-match B amount|--after-match: the pattern has no variable 'B'
	2|--pattern 'A'|what of a match?
	2|amount|which pattern?
	1|--partials 3 --pattern 'PERMUTE(A, B)+ C' --define 'A: sum(A.amount) > 0; B: sum(B.amount) > 0; C: amount > 9999' amount|more than 3 partial matches at once
	END
	run bash -c "ssource cards.csv | smatch --pattern A --within 1s amount | ssink"
	[[ "$output" = *"smatch: error: --within needs an event time, and the stream from ssource has none"* ]]
	run bash -c "ssource -t at cards.csv | swindow -k card --emit changes 'count(*) as n' | smatch --pattern A n | ssink"
	[[ "$output" = *"the stream from swindow is a changelog"* ]]
}

@test "patterns with many equal ways, and long runs in vain, take their time once" {
	{ echo x; seq 20000; } >x.csv
	last() { timeout -s KILL 60 bash -c "set -o pipefail; ssource x.csv | smatch $1 | ssink -f csv --header no" | tail -n 1; }
	[ "$(last "--pattern '((A | B)* (A | B)*){3,} C' --define 'C: x >= 20000' 'count(*)'")" = 20000 ]
	[ -z "$(last "--pattern '((A | B)* (A | B)*){3,} C' --define 'C: x > 20000' 'count(*)'")" ]
	[ "$(last "--pattern 'A* C' --define 'A: sum(A.x) >= x and x >= first(A.x); C: x >= 20000' 'sum(A.x)'")" = 199990000 ]
	# (A | B)* has twice as many ways with every row, but none that count(A.*) or the last B can tell apart for long.
	[ "$(last "--pattern '(A | B)* C' --define 'A: count(A.*) < 3; B: B.x > 0; C: x = 20000' 'count(A.*)'")" = 2 ]
	run bash -c "ssource x.csv | smatch --pattern '(A | B)* C' --define 'A: sum(A.x) > 0; C: x > 20000' 'count(*)' | ssink null:"
	[[ "$output" = *"smatch: error: more than 10000 partial matches at once"* ]]
	run bash -c "ssource x.csv | smatch --pattern '((A?){90}){90}' 'count(*)' | ssink null:"
	[[ "$output" = *"smatch: error: --pattern: written out, the pattern has more than 1048576 ways from a row to the next"* ]]
}

@test "a condition that fails stops the stage where a row is asked for, and only there" {
	printf '%s\n' x,y 1,0 2,5 3,0 4,2 >x.csv
	of() { ssource x.csv | smatch --pattern "$1" --define "$2" 'A.x as a, B.x as b' | ssink -f csv --header no; }
	[ "$(of 'A B' 'A: x % 2 = 1; B: 10 / y > 0 and x > 0')" = "$(printf '%s\n' 1,2 3,4)" ]
	run of 'A B' 'A: x % 2 = 0; B: 10 / y > 0'
	[[ "$output" = *"division by zero in '10 / y'"* ]]
	[ "$(of 'A B' 'A: x % 2 = 0; B: try(10 / y) > 0')" = "" ]
	[ "$(of 'A B' 'A: x = 2; B: try(10 / y) > 0 or x = 3')" = 2,3 ]
}

@test "a condition looks at rows to come: those are waited for, and the watermark with them" {
	printf '%s\n' k,x,at a,1,1 b,5,2 a,3,3 a,2,4 b,4,5 a,7,6 >x.csv
	of() { ssource -s 'k string, x int, at timestamp(s)' "$@" x.csv | smatch -k k --pattern 'PEAK' \
		--define 'PEAK: x > prev(x) and x > next(x)' 'x, match_time() as at'; }
	[ "$(of -t at | ssink -f csv --header no)" = "a,3,1970-01-01T00:00:03Z" ]
	# Nothing is behind the last rows: next() is null there.
	[ "$(ssource x.csv | smatch -k k --pattern 'LAST' --define 'LAST: next(x) is null' x | ssink -f csv --header no |
		sort | tr '\n' ' ')" = "a,7 b,4 " ]
	# A row of a's is waited for, so that a window behind doesn't close over it.
	[ "$(of -t at -d 0s | swindow --tumble 1s 'count(*) as n' | ssink -f csv --header no)" = \
		"1970-01-01T00:00:03Z,1970-01-01T00:00:04Z,1" ]
}

@test "keys of which nothing is held any more are forgotten; what is held counts" {
	awk 'BEGIN { print "k,x,at"; for (i = 0; i < 400000; i++) print int(i / 2) "," i % 2 * 5 "," i }' >keys.csv
	schema='k int, x int, at timestamp(ms)'
	found() { ssource -s "$schema" "${time[@]}" keys.csv | smatch -k k --memory 12M "$@" | ssink -f csv --header no; }
	for timed in yes no; do
		time=()
		[ $timed = no ] || time=(-t at -d 0s)
		[ "$(found --pattern 'A B' --define 'A: x > 6; B: x > prev(x)' 'A.x' | wc -l)" -eq 0 ]
		[ "$(found --pattern 'A B' --define 'A: x = 0; B: x > prev(x)' 'B.x' | wc -l)" -eq 200000 ]
		run found --pattern 'A B' --define 'A: x > 6 or x > prev(x)' 'A.x'
		[[ "$output" = *"rows of matches that have begun take 1"*" MB, more than --memory allows"* ]]
	done
	time=(-t at -d 0s)
	[ "$(found --pattern 'A B C' --define 'A: x > 4' --within 1s 'A.x' | wc -l)" -eq 0 ]
	run found --pattern 'A B C' --define 'A: x > 4' 'A.x'
	[[ "$output" = *"more than --memory allows"* ]]
}

@test "under runnel, in two subtasks, killed and restored, the matches are the same" {
	cat >p.sh <<-'END'
	ssource 'nexmark:bid?events=40000' --rate "${rate:-20000}" -d 1s |
	  smatch -k auction --pattern 'LOW UP+ DOWN' --within 20s \
	    --define 'UP: price > prev(price); DOWN: price < LOW.price' \
	    'count(*) as n, LOW.price as low, max(price) as most, match_time() as at' | ssink -f csv --header no ${out:-out}/
	END
	rate=1000000 out=calm bash p.sh
	for pause in 0.4 0.6; do
		runnel -q -p 2 --state state --checkpoint 100ms p.sh 2>>log 3>&- &
		job=$!
		sleep $pause
		pkill -9 -P $job smatch || true
		sleep $pause
		kill -9 $job
		wait $job || true
	done
	runnel -q -p 3 --state state --checkpoint 100ms p.sh
	[ "$(cat calm/* | wc -l)" -gt 100 ]
	diff <(sort calm/*) <(sort out/*)
}

@test "another pattern's state is refused, and may be dropped" {
	job() { echo "ssource nexmark:bid --rate 2000 -d 0s | smatch -k auction --pattern '$1' 'count(*) as n' | ssink out/"; }
	runnel -q --state state --checkpoint 100ms -c "$(job 'A B{3}')" 2>log 3>&- &
	p=$!
	for _ in $(seq 100); do
		[ -z "$(ls state/checkpoints 2>/dev/null)" ] || break
		sleep 0.05
	done
	sleep 0.3
	kill -TERM $p
	wait $p || true
	status=0
	runnel -q --state state -c "$(job 'A B{4}')" 2>errors || status=$?
	cat errors
	[ "$status" -eq 4 ]
	grep -q "the state is of another pattern: 'A B{3}'" errors
	timeout -s TERM 3 runnel -q --state state --drop-state smatch:matches -c "$(job 'A B{4}')" 2>errors || status=$?
	cat errors
	[ ! -s errors ]
}
