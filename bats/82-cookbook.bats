#!/usr/bin/env bats
# The recipes in bats/examples/cookbook, which runnel(7) shows: each over made-up data, its result
# computed again by tests/cookbook.py, and what runs as a job also by runnel, in two subtasks.

bats_require_minimum_version 1.5.0

setup_file() {
	mkdir "$BATS_FILE_TMPDIR/data"
	python3 "$BATS_TEST_DIRNAME/../tests/cookbook.py" data "$BATS_FILE_TMPDIR/data"
}

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	book=$top/bats/examples/cookbook
	PATH="${BIN:-$top/build/bin}:$PATH"
	cp -r "$BATS_FILE_TMPDIR/data" "$BATS_TEST_TMPDIR/book"
	cd "$BATS_TEST_TMPDIR/book" || exit 1
	export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state
	started= writer=
}

teardown() {
	local p
	[ -z "$writer" ] || kill "$writer" 2>/dev/null || true
	for p in $started; do
		kill -9 -- "-$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

runs() { # runs NAME: status 0; its standard output in NAME.out, its messages in NAME.err
	local status=0
	bash "$book/$1.sh" >"$1.out" 2>"$1.err" || status=$?
	cat "$1.err"
	[ "$status" -eq 0 ]
}

is_right() { # is_right NAME: what it gave is what Python finds
	python3 "$top/tests/cookbook.py" check "$1" .
}

recipe() { # recipe NAME: runs without a word, and is right
	runs "$1"
	[ ! -s "$1.err" ]
	is_right "$1"
}

# Two subtasks may add floats in another order: nine digits, and sorted.
rows() {
	awk -F, -v OFS=, '{ for (i = 1; i <= NF; i++) if ($i ~ /^-?[0-9]+\.[0-9]+$/) $i = sprintf("%.9g", $i)
		print }' "$1" | sort
}

# As a job: the same rows, in whatever order.
job() { # job NAME
	local status=0
	mv "$1.out" shell.out
	runnel -p 2 --state "$BATS_TEST_TMPDIR/job" "$book/$1.sh" >"$1.out" 2>job.err || status=$?
	cat job.err
	[ "$status" -eq 0 ]
	diff <(rows shell.out) <(rows "$1.out")
}

@test "every recipe has a test here" {
	for file in "$book"/*.sh; do
		name=$(basename "$file" .sh)
		grep -qE "^	(recipe|runs) $name\$" "$BATS_TEST_FILENAME" || [ "$name" = live-count ] ||
			{ echo "$file"; false; }
	done
	[ "$(ls "$book"/*.sh | wc -l)" -eq 19 ]
}

@test "the manual shows every recipe as it is, and no other" {
	mandoc -Tutf8 -O width=100 "$top/man/runnel.7" | col -bx |
		sed -n '/^COOKBOOK/,/^SEE ALSO/p' | sed 's/^ *//' >page
	python3 - "$book"/*.sh <<-'END'
	import sys
	page, pipelines = open("page").read(), 0
	for name in sys.argv[1:]:
	    lines = [line.strip() for line in open(name)]
	    text = "\n".join(lines[lines.index("set -euo pipefail") + 2:])
	    assert text + "\n" in page, "the manual doesn't show %s:\n%s" % (name, text)
	    pipelines += sum(line.startswith("ssource ") for line in text.split("\n"))
	shown = sum(line.startswith("ssource ") for line in page.split("\n"))
	assert shown == pipelines, "the manual shows %d pipelines, not %d" % (shown, pipelines)
	END
}

@test "error-rate: the share of failed requests in every hour" {
	recipe error-rate
	job error-rate
}

@test "fraud: a card that is tried out" {
	recipe fraud
	job fraud
}

@test "port-scan: who tries one port after the other" {
	recipe port-scan
	job port-scan
}

@test "top-talkers: who sends most of what the firewall drops" {
	recipe top-talkers
	job top-talkers
}

@test "web-sessions: visits, half an hour apart" {
	recipe web-sessions
	job web-sessions
}

@test "clicks: with the impressions of the ten minutes before" {
	recipe clicks
	job clicks
}

@test "enrichment: orders with the name and country of the customer" {
	recipe enrichment
	job enrichment
}

@test "cleaning: compressed csv to clean ndjson, and what can't be read" {
	recipe cleaning
	[ ! -s cleaning.out ]
}

@test "sensors: three side by side, the mean of every minute" {
	recipe sensors
	job sensors
}

@test "quantiles: how long the endpoints take" {
	recipe quantiles
	job quantiles
}

@test "share: of every country in the total" {
	recipe share
	job share
}

@test "balance: of every account after each booking" {
	recipe balance
	job balance
}

@test "moving-average: of seven readings, and the change" {
	recipe moving-average
	job moving-average
}

@test "outliers: three deviations off the hour before" {
	recipe outliers
	job outliers
}

@test "latest: the latest state of every device" {
	recipe latest
	job latest
}

@test "two-outputs: one pass, two results" {
	recipe two-outputs
	[ ! -s two-outputs.out ]
	mkdir shell && mv failed.csv paths.csv shell
	job two-outputs
	is_right two-outputs
	diff <(sort shell/paths.csv) <(sort paths.csv)
}

@test "plot: a curve in the terminal, in the messages" {
	runs plot
	[ ! -s plot.out ]
	is_right plot
}

@test "replay: what passes an edge, asked again" {
	recipe replay
	[ "$(head -c 1 edge.frames | od -An -tx1)" = " c9" ]
}

within() { # within COMMAND...: until it succeeds, for 60 s at most
	local i
	for ((i = 0; i < 6000; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		read -rt 0.01 <> <(:) || true
	done
	echo "never: $*"
	cat live-count.out live-count.err
	return 1
}

counted() { # counted N: the updates so far come to N rows
	[ "$(awk -F'[:,}]' '{ for (i = 1; i <= NF; i++) if ($i == "\"n\"") n += /"op":"[-]/ ? -$(i + 1) : $(i + 1) }
		END { print n + 0 }' live-count.out)" -eq "$1" ]
}

# Two minutes of log, forty lines, every three minutes; no more before what is there is counted.
write_log() {
	local part i
	for part in 0 1 2 3; do
		for ((i = 0; i < 40; i++)); do
			printf '2024-03-04T08:%02d:%02dZ %s request %d\n' $((3 * part + i / 20)) $((i % 20 * 3)) \
				"$( ((i % 7)) && echo INFO || echo ERROR)" $((40 * part + i))
		done >>live.log
		within counted $((40 * part + 40)) || return 1
	done
}

@test "live-count: requests a minute as the log is written, until it is interrupted" {
	: >live.log
	write_log >writer 2>&1 3>&- &
	writer=$!
	# A process group of its own, as a shell with a terminal gives it; an interrupt goes to all of it.
	set -m
	bash "$book/live-count.sh" >live-count.out 2>live-count.err 3>&- &
	pipeline=$!
	set +m
	started=$pipeline
	wait "$writer" || { cat writer; false; }
	kill -INT -- "-$pipeline"
	status=0
	wait "$pipeline" || status=$?
	echo "status $status"
	cat live-count.err
	[ "$status" -eq 0 ]
	[ ! -s live-count.err ]
	is_right live-count
	# Updates, not only results: more rows than minutes and levels.
	[ "$(wc -l <live-count.out)" -gt 16 ]
	grep -q '"op":"-U"' live-count.out
}
