#!/usr/bin/env bats
# The programs are there, say what they are, and a pipeline of all of them runs.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	programs="ssource smap swindow sjoin ssort ssink"
}

# says COMMAND...: standard output to out, standard error to errors, the status to $status.
says() {
	status=0
	"$@" >out 2>errors </dev/null || status=$?
	echo "$* gives $status"
	cat out errors
}

@test "--version names the program and its version" {
	for p in $programs; do
		says "$p" --version
		[ "$status" -eq 0 ]
		[ ! -s errors ]
		grep -qE "^$p \(runnel\) [0-9]+\.[0-9]+\.[0-9]+$" out
		[ "$(wc -l <out)" -eq 1 ]
	done
}

@test "--help is a screenful with what it is, its options and examples" {
	for p in $programs; do
		says "$p" --help
		[ "$status" -eq 0 ]
		[ ! -s errors ]
		[ "$(wc -l <out)" -le 66 ] # a page
		[ "$(wc -L <out)" -le 100 ]
		grep -q "^$p: " out
		grep -q "^usage: $p " out
		grep -q '^examples:$' out
		grep -q "^The manual: man $p" out
		says "$p" -h
		[ "$status" -eq 0 ]
		grep -q "^usage: $p " out
	done
}

@test "a pipeline of all programs gives its rows and nothing else" {
	printf '%s\n' carrier,delay,at AA,10,2024-01-01T00:00:01Z UA,20,2024-01-01T00:00:02Z \
		AA,-5,2024-01-01T00:00:03Z UA,40,2024-01-01T00:01:02Z >flights.csv
	printf '%s\n' carrier,name AA,American UA,United >airlines.csv
	pipeline() {
		set -o pipefail
		ssource flights.csv -t at |
			smap -w 'delay > 0' |
			swindow --tumble 1m -k carrier 'count(*) as n, sum(delay) as delay' |
			sjoin -k carrier airlines.csv |
			smap 'name, window_start, n, delay' |
			ssink -f csv
	}
	says pipeline
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	diff out - <<-'END'
	name,window_start,n,delay
	American,2024-01-01T00:00:00Z,1,10
	United,2024-01-01T00:00:00Z,1,20
	United,2024-01-01T00:01:00Z,1,40
	END
}

@test "the first result of a small file is there before the input has ended" {
	mkfifo in out.fifo
	ssource -f csv -s 'a int' --header yes in 3>&- | smap 'a + 1 as b' 3>&- | ssink -f csv >out.fifo 3>&- &
	exec 7>in 8<out.fifo
	printf 'a\n1\n' >&7
	read -r -t 60 header <&8
	read -r -t 60 row <&8
	[ "$header,$row" = "b,2" ]
	exec 7>&-
	wait
	exec 8<&-
}
