#!/usr/bin/env bats
# What holds for every program alike: its options, its manual and its completion agree; wrong usage,
# broken inputs and closed outputs end as promised.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	programs="ssource smap swindow sjoin ssort smerge stee speek ssink"
	readers="smap swindow sjoin ssort smatch smerge stee speek ssink"
	tools="runnel sctl" # programs that are no stages
	printf 'a,b,t\n1,x,2024-01-01T00:00:01Z\n2,y,2024-01-01T00:00:02Z\n' >a.csv
	# A stream that ends before it has told any columns: HELLO, END.
	printf '\xc9\0\0\0\x0a\0\x93\xa6runnel\1\x80\xc9\0\0\0\2\6\x91\0' >nothing.frames
}

# Arguments with which a program does something to a stream that has a column a.
arguments() {
	case $1 in
	ssource) echo a.csv ;;
	smap) echo a ;;
	swindow) echo -k a ;;
	sjoin) echo -k a a.csv ;;
	ssort) echo a ;;
	smatch) echo --pattern A a ;;
	smerge) echo nothing.frames ;;
	stee) echo 'ssink>side' ;;
	speek) echo -q ;;
	ssink) echo -f csv ;;
	esac
}

# says COMMAND...: standard output to out, standard error to errors, the status to $status.
says() {
	status=0
	"$@" >out 2>errors </dev/null || status=$?
	echo "$* gives $status"
	cat errors
}

# The kinds of the frames in out.
kinds() {
	python3 "$root/tests/tools/frames.py" --kinds <out
}

# The options that lines such as ".It Fl w , Fl -where Ar COND" describe, one a line.
described() {
	grep '^\.It Fl' | grep -oE 'Fl -?[a-z][a-z-]*' | sed 's/Fl /-/' | sort -u
}

@test "the options are those of the manual, the completion and --help" {
	for p in $programs $tools; do
		says "$p" --complete mdoc
		[ "$status" -eq 0 ]
		described <out >table
		[ "$(wc -l <table)" -ge 7 ]
		described <"$root/man/$p.1" | diff table -
		says "$p" --complete bash
		[ "$status" -eq 0 ]
		sed -n "s/.*compgen -W '\(-.*\)' -- .*/\1/p" out | tr ' ' '\n' | sed '/^$/d' | sort |
			diff table -
		"$p" --help | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--?[a-z][a-z-]*' | sort |
			diff table -
	done
}

@test "the completion is bash that completes an option" {
	for p in $programs $tools; do
		"$p" --complete bash >completion
		run bash -c "source ./completion; COMP_WORDS=($p --ver); COMP_CWORD=1; _$p; echo \"\${COMPREPLY[*]}\""
		[ "$status" -eq 0 ]
		[[ "$output" = *--version* ]]
	done
}

@test "the completion is fish that completes an option and a choice" {
	command -v fish >/dev/null || skip "no fish"
	export HOME=$BATS_TEST_TMPDIR
	for p in $programs $tools; do
		"$p" --complete fish >completion.fish
		run fish --private -c "source completion.fish; complete -C '$p --ver'"
		[ "$status" -eq 0 ]
		[[ "$output" = *--version*"print the version"* ]]
	done
	ssource --complete fish >completion.fish
	run fish --private -c "source completion.fish; complete -C 'ssource -f nd'"
	[[ "$output" = ndjson* ]]
}

@test "the completion is zsh that completes an option and a choice" {
	command -v zsh >/dev/null || skip "no zsh"
	mkdir functions
	for p in $programs $tools; do
		"$p" --complete zsh >"functions/_$p"
		zsh -n "functions/_$p"
	done
	# A terminal, and a person who types a word and the tabulator.
	cat >type.py <<'PY'
import os, pty, re, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(PS1="$ ", TERM="dumb")
    os.execvp("zsh", ["zsh", "-f", "-i"])
seen = ""
def until(pattern, seconds=20):
    global seen
    end = time.time() + seconds
    while not re.search(pattern, seen):
        if time.time() > end:
            sys.exit("%r is not in %r" % (pattern, seen))
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 65536).decode(errors="replace")
    seen = ""
def send(text):
    os.write(fd, text.encode())
send("fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D; print rea''dy\n")
until("ready")
send("ssource --quoted\t")
until("--quoted-newlines=")
send("\x15ssource -f nd\t")
until("ndjson")
PY
	python3 type.py
}

@test "--help is a screenful with examples and the manuals" {
	for p in $programs $tools; do
		says "$p" --help
		[ "$status" -eq 0 ]
		[ ! -s errors ]
		[ "$(wc -l <out)" -le 66 ] # a page
		[ "$(wc -L <out)" -le 100 ]
		sed -n 1p out | grep -q "^$p: "
		sed -n 2p out | grep -q "^usage: $p "
		grep -q "^  .*$p " out
		[ "$(tail -n 1 out)" = "The manual: man $p, man 7 runnel" ]
		"$p" -h | diff out -
	done
}

@test "--version is the program's and the version" {
	for p in $programs $tools; do
		says "$p" --version
		[ "$status" -eq 0 ]
		grep -qxE "$p \(runnel\) [0-9]+\.[0-9]+\.[0-9]+" out
	done
}

@test "every program has a manual that the tour names" {
	for p in $programs $tools; do
		[ -e "$root/man/$p.1" ]
		grep -q "^\.It Xr $p 1" "$root/man/runnel.7"
		sed -n '/^\.Sh SEE ALSO/,$p' "$root/man/runnel.7" | grep -q "^\.Xr $p 1"
		sed -n '/^\.Sh SEE ALSO/,$p' "$root/man/$p.1" | grep -q '^\.Xr runnel 7'
	done
}

@test "the manuals are clean" {
	for page in "$root"/man/*; do
		run mandoc -Tlint -Wwarning "$page"
		echo "$output"
		[ "$status" -eq 0 ]
	done
}

@test "the manuals refer to each other only where there is a page" {
	for page in "$root"/man/*; do
		sed -n 's/^\.Xr \(ssource\|smap\|swindow\|sjoin\|ssort\|smerge\|stee\|speek\|ssink\|sctl\|runnel[a-z-]*\) \([0-9]\).*/\1.\2/p' "$page" | sort -u |
			while read -r other; do
				[ -e "$root/man/$other" ] || { echo "$page refers to $other"; exit 1; }
			done
	done
}

@test "an unknown option exits 2 and suggests the one that is meant" {
	for p in $programs; do
		says "$p" --mmory 1M
		[ "$status" -eq 2 ]
		[ ! -s out ]
		[ "$(sed -n 1p errors)" = "$p: error: unknown option --mmory" ]
		[ "$(sed -n 2p errors)" = "did you mean --memory?" ]
		says "$p" --xyzzy
		[ "$status" -eq 2 ]
		grep -q -- '--help' errors
	done
}

@test "a tool's unknown option and wrong value exit 2, before anything is done" {
	export XDG_STATE_HOME=$PWD/state
	echo 'ssource a.csv | ssink' >p.sh
	while IFS='|' read -r p arguments message hint; do
		says "$p" $arguments
		[ "$status" -eq 2 ]
		[ ! -s out ]
		[ "$(sed -n 1p errors)" = "$p: error: $message" ]
		[ -z "$hint" ] || [ "$(sed -n 2p errors)" = "$hint" ]
		[ -z "$(ls state/runnel 2>/dev/null)" ]
	done <<-'END'
	runnel|--pln p.sh|unknown option --pln|did you mean --plan?
	runnel|--checkpoint 5 p.sh|--checkpoint: '5' is not a duration like 250ms, 10s, 5m, 1h or 7d|
	runnel|--heartbeat never p.sh|--heartbeat: 'never' is not a duration like 250ms, 10s, 5m, 1h or 7d|
	runnel|-p 0 p.sh|-p: from 1 to 128 subtasks|
	runnel|-p 129 p.sh|-p: from 1 to 128 subtasks|
	runnel|-p many p.sh|--parallelism: 'many' is not a whole number from 0|
	runnel|--restart often p.sh|--restart 'often': at most N failures in a time, as 10/10m (N up to 1000)|
	runnel|--metrics 99999 p.sh|--metrics '99999' is not a port, or host:port|
	runnel|--name a/b p.sh|--name 'a/b': a name has no slash; a place is --state DIR|
	runnel|a.sh b.sh|one FILE, not 2; the second is 'b.sh'|values come in through the environment: NAME=value runnel FILE
	sctl|list --jsno|unknown option --jsno|did you mean --json?
	sctl|stop --savepoint|--savepoint needs an argument: PATH|
	END
	says runnel
	[ "$status" -eq 2 ]
	[ "$(cat errors)" = "runnel: error: no pipeline: a FILE, or -c 'ssource ... | ssink ...'" ]
	says runnel -c "ssource a.csv" p.sh
	[ "$status" -eq 2 ]
	[ "$(cat errors)" = "runnel: error: -c and a FILE: one pipeline, please" ]
	says env RUNNEL_RUNNEL_CHECKPOINT=5Q runnel p.sh
	[ "$status" -eq 2 ]
	grep -q "^runnel: error: RUNNEL_RUNNEL_CHECKPOINT: --checkpoint: '5Q'" errors
	[ -z "$(ls state/runnel 2>/dev/null)" ]
}

@test "a tool's default comes from the environment" {
	says env RUNNEL_RUNNEL_PARALLELISM=2 runnel --plan -c 'ssource a.csv | smap a | ssink null:'
	[ "$status" -eq 0 ]
	grep -q 'parallelism 2$' out
	says env RUNNEL_SCTL_JSON=1 XDG_STATE_HOME="$PWD/state" sctl list
	[ "$(cat out)" = "[]" ]
}

@test "a wrong or missing value of an option exits 2 and shows what it takes" {
	for p in $programs; do
		says "$p" --memory 5Q
		[ "$status" -eq 2 ]
		[ ! -s out ]
		grep -q "^$p: error: --memory: '5Q' is not a size like 64k, 256M or 1G" errors
		says "$p" --memory
		[ "$status" -eq 2 ]
		grep -q "^$p: error: --memory needs an argument: SIZE" errors
	done
}

@test "defaults come from the environment, and a wrong one is named" {
	for p in $programs; do
		variable=RUNNEL_$(echo "$p" | tr a-z A-Z)_MEMORY
		says env "$variable=5Q" "$p" $(arguments "$p")
		[ "$status" -eq 2 ]
		grep -q "^$p: error: $variable: --memory: '5Q'" errors
	done
	says env RUNNEL_SSOURCE_LIMIT=1 ssource a.csv
	[ "$(ssink -f csv --header no <out)" = 1,x,2024-01-01T00:00:01Z ]
}

@test "an input that is no frame stream is refused, with what to put in front" {
	for p in $readers; do
		for input in a.csv "$root/README.md" "$root/tests/data/flights-2013-01.csv.zst"; do
			status=0
			"$p" $(arguments "$p") <"$input" >out 2>errors || status=$?
			echo "$p gives $status: $(cat errors)"
			[ "$status" -eq 2 ]
			[ "$(sed -n 1p errors)" = "$p: error: standard input is not a frame stream" ]
			grep -q 'put ssource in front' errors
			[ "$p" = ssink ] || [[ "$(kinds)" != *END* ]]
		done
	done
}

@test "no input at all is a stage in front that failed" {
	for p in $readers; do
		says "$p" $(arguments "$p")
		[ "$status" -eq 3 ]
		grep -q "^$p: error: standard input: no input at all" errors
		[ "$p" = ssink ] || [[ "$(kinds)" != *END* ]]
	done
}

@test "a stream that breaks off gives 3, no END, and nothing under the final name" {
	ssource 'nexmark:bid?events=30000' -t dateTime | smap '*, auction as a' >all.frames
	size=$(stat -c %s all.frames)
	# In the middle of a frame, and between two: only the END is missing.
	head -c $((size / 2)) all.frames >middle.frames
	python3 - <<-'END'
	import struct
	data, at, last = open("all.frames", "rb").read(), 0, 0
	while at < len(data):
	    last, at = at, at + 6 + struct.unpack(">I", data[at + 1:at + 5])[0]
	open("end.frames", "wb").write(data[:last])
	END
	sides() {
		case $1 in
		smap) echo -w 'false --else side.frames' ;;
		swindow) echo --tumble 1s --late side.frames ;;
		sjoin) echo --tumble 1s --late side.frames ;;
		esac
	}
	ssource a.csv -t t | smap '*' >right.frames
	for p in smap swindow sjoin; do
		for input in middle.frames end.frames; do
			rm -f side.frames
			arguments=$(arguments "$p")
			status=0
			"$p" $(sides "$p") ${arguments%a.csv} \
				$([ "$p" = sjoin ] && echo right.frames) <"$input" >out 2>errors || status=$?
			echo "$p of $input gives $status: $(cat errors)"
			[ "$status" -eq 3 ]
			grep -q "^$p: error: " errors
			[[ "$(kinds)" = *ERROR* ]]
			[[ "$(kinds)" != *END* ]]
			[ ! -e side.frames ]
			# The last program names the first cause.
			status=0
			ssink result.csv <out 2>errors || status=$?
			[ "$status" -eq 3 ]
			grep -q "^ssink: error: $p failed: " errors
			[ ! -e result.csv ]
		done
	done
	for input in middle.frames end.frames; do
		status=0
		ssink result.csv <"$input" 2>errors || status=$?
		[ "$status" -eq 3 ]
		grep -q '^ssink: error: ' errors
		[ -z "$(ls -A | grep result)" ]
	done
}

@test "an END with another count of rows is a stage in front that failed" {
	ssource a.csv | smap 'a' >all.frames
	python3 - <<-'END'
	data = open("all.frames", "rb").read()
	at = data.rindex(b"\x06\x91\x02")
	open("wrong.frames", "wb").write(data[:at] + b"\x06\x91\x03" + data[at + 3:])
	END
	for p in $readers; do
		status=0
		"$p" $(arguments "$p") <wrong.frames >out 2>errors || status=$?
		echo "$p gives $status: $(cat errors)"
		[ "$status" -eq 3 ]
		grep -q "^$p: error: " errors
	done
}

@test "a frame that is damaged gives 1, with its number and byte" {
	ssource a.csv | smap 'a' >all.frames
	printf '\xc9\0\0\0\1\x2a\0' >unknown
	for p in $readers; do
		status=0
		head -c 48 all.frames | cat - unknown | "$p" $(arguments "$p") >out 2>errors || status=$?
		echo "$p gives $status: $(cat errors)"
		[ "$status" -eq 1 ]
		grep -q "^$p: error: standard input: frame [0-9]* at byte [0-9]*: " errors
		[ "$(grep -c error: errors)" -eq 1 ]
	done
}

@test "a reader that has enough ends the programs in front, without a word" {
	ends() {
		status=0
		timeout 60 bash -c "set -o pipefail; $1" >out 2>errors || status=$?
		echo "$1 gives $status: $(cat errors)"
		[ ! -s errors ]
	}
	ends 'ssource nexmark:bid | head -c 100'
	[ "$status" -eq 0 ]
	ends 'ssource nexmark:bid | smap auction | head -c 100'
	[ "$status" -eq 0 ]
	ends 'ssource nexmark:bid -t dateTime -d 0s | swindow --tumble 1s -k auction | head -c 100'
	[ "$status" -eq 0 ]
	ends 'ssource nexmark:bid | smap "auction as id" | sjoin -k id --static <(ssource nexmark:auction?events=1000) | head -c 100'
	[ "$status" -eq 0 ]
	ends 'ssource nexmark:bid | ssink | head -n 1'
	[ "$status" -eq 141 ]
	[ "$(wc -l <out)" -eq 1 ]
}

@test "a full disk gives 5 and the cause" {
	for p in $programs; do
		status=0
		ssource 'nexmark:bid?events=50000' | smap '*, auction as a' |
			if [ "$p" = ssource ]; then ssource 'nexmark:bid?events=50000'
			else "$p" $(arguments "$p"); fi >/dev/full 2>errors || status=$?
		echo "$p gives $status: $(cat errors)"
		[ "$status" -eq 5 ]
		grep -q "^$p: error: .*No space left on device" errors
	done
}

@test "what a program says of itself doesn't vanish on a full disk" {
	for p in $programs $tools; do
		for option in --help --version '--complete bash'; do
			status=0
			"$p" $option >/dev/full 2>errors || status=$?
			echo "$p $option gives $status: $(cat errors)"
			[ "$status" -eq 5 ]
			grep -q "^$p: error: .*No space left on device" errors
		done
	done
	status=0
	runnel --plan -c 'ssource a.csv | ssink' >/dev/full 2>errors || status=$?
	[ "$status" -eq 5 ]
	grep -q '^runnel: error: .*No space left on device' errors
}

@test "a ten-line script with a msgpack library stands in a pipe" {
	printf 'a,b\n1,5\n,7\n3,\n4,0\n' >ints.csv
	says bash -c "set -o pipefail; ssource ints.csv | python3 '$root/bats/script.py' | ssink -f csv"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	printf 'a,b\n1,10\n,14\n3,\n4,0\n' | diff - out
	says bash -c "set -o pipefail; ssource 'nexmark:bid?events=20000' | smap 'auction, price' |
		python3 '$root/bats/script.py' | ssink -f csv"
	[ "$status" -eq 0 ]
	ssource 'nexmark:bid?events=20000' | smap 'auction, price * 2 as price' | ssink -f csv | diff - out
}

@test "the script passes on frames it doesn't know, and programs skip them" {
	ssource a.csv | smap 'a, a as b' >all.frames
	python3 - <<-'END'
	data = open("all.frames", "rb").read()
	hello = 6 + int.from_bytes(data[1:5], "big")
	open("more.frames", "wb").write(data[:hello] + b"\xc9\0\0\0\x02\x41hi" + data[hello:])
	END
	python3 "$root/bats/script.py" <more.frames >out
	grep -qaF "$(printf 'Ahi')" out
	[ "$(smap '*' <out | ssink -f csv --header no | tr '\n' ' ')" = "1,2 2,4 " ]
}

@test "the script that fails takes the pipeline with it" {
	printf 'a,b\nx,y\n' >texts.csv
	says bash -c "set -o pipefail; ssource texts.csv | python3 '$root/bats/script.py' | ssink x.csv"
	[ "$status" -eq 3 ]
	grep -q '^ssink: error: ' errors
	[ ! -e x.csv ]
}

@test "the manual of the frames shows the script as it is, and its stream by hand is read as it says" {
	mandoc -Tascii -O width=100 "$root/man/runnel-frames.5" | col -bx | sed 's/^ *//' >page
	sed 's/^ *//' "$root/bats/script.py" >lines
	python3 - <<-'END'
	page, lines = open("page").read(), open("lines").read()
	assert lines in page, "the manual shows another script"
	END
	sed -n '/^import msgpack, sys/,/^\.Ed/p' "$root/man/runnel-frames.5" | sed '$d' >hand.py
	python3 hand.py | ssink >out
	sed -n '/^\$ python3 hand.py/,/^\.Ed/p' "$root/man/runnel-frames.5" | sed '1d;$d' | diff - out
}
