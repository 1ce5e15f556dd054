#!/usr/bin/env bats
# One text, run by bash and by runnel: the same rows.  What only bash would understand is refused.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' '{"a":1,"b":"x"}' '{"a":2,"b":"y"}' >rows.ndjson
	printf '%s\n' '{"a":2,"c":"z"}' >other.ndjson
}

both() { # both FILE: under bash and under runnel, into by_bash and by_runnel
	bash "$1" >by_bash 3>&-
	runnel --quiet --state "state-$BATS_TEST_NUMBER" "$1" >by_runnel 3>&-
	diff by_bash by_runnel
	[ -s by_bash ]
}

refused() { # refused TEXT: nothing runs, status 2; what is said goes to errors
	local status=0
	runnel --state state -c "$1" >out 2>errors 3>&- || status=$?
	cat errors
	[ "$status" -eq 2 ]
	[ ! -s out ]
	[ ! -e state ]
}

@test "every example gives the same under runnel as under bash" {
	cd "$root"
	for file in bats/examples/*.sh; do
		name=$(basename "$file" .sh)
		runnel --quiet --state "$BATS_TEST_TMPDIR/$name" "$file" >"$BATS_TEST_TMPDIR/out" 3>&-
		diff "bats/examples/$name.out" "$BATS_TEST_TMPDIR/out"
	done
}

@test "every example gives the same rows in four subtasks" {
	cd "$root"
	for file in bats/examples/*.sh; do
		name=$(basename "$file" .sh)
		runnel --quiet -p 4 --state "$BATS_TEST_TMPDIR/$name" "$file" >"$BATS_TEST_TMPDIR/out" 3>&-
		diff <(sort "bats/examples/$name.out") <(sort "$BATS_TEST_TMPDIR/out")
	done
}

@test "variables, defaults, quotes, comments, joined lines and substitutions mean the same" {
	cat >p.sh <<-'END'
		#!/usr/bin/env bash
		set -euo pipefail
		columns=${columns:-'a, b'} # the environment may say others
		options="-w a>0"
		ssource "${dir:-.}/rows.ndjson" |
		  # all of them
		  smap $options "$columns" \
		  | sjoin -k a --kind left <(ssource other.ndjson |
		    smap 'a, c || '\''$'\'' as c') |
		  ssink -f csv
	END
	both p.sh
	grep -qx '2,y,z\$' by_runnel
	columns='a' both p.sh
	grep -qx '2,z\$' by_runnel
}

@test "what a file exports reaches its stages" {
	printf '%s\n' 'export RUNNEL_SSINK_FORMAT=csv' 'ssource rows.ndjson | ssink' >p.sh
	both p.sh
	grep -qx '1,x' by_runnel
}

@test "a value from the environment that the file assigns anew is passed on" {
	export RUNNEL_SSINK_FORMAT=json
	printf '%s\n' 'RUNNEL_SSINK_FORMAT=csv' 'ssource rows.ndjson | ssink' >p.sh
	both p.sh
	grep -qx '1,x' by_runnel
}

@test "a pipeline file is a program" {
	printf '%s\n' '#!/usr/bin/env runnel' 'ssource rows.ndjson | ssink -f csv out.csv' >p.sh
	chmod +x p.sh
	XDG_STATE_HOME=$PWD/home ./p.sh 3>&-
	grep -qx '1,x' out.csv
}

@test "a shell's constructs are refused with line, column, caret and a way out" {
	refused $'ssource rows.ndjson |\n  tee copy | ssink'
	diff - errors <<-'END'
		runnel: error: -c:2:3: tee can't be used in a pipeline file
		    tee copy | ssink
		    ^
		stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ...
	END
	refused 'for f in *.csv; do ssource "$f" | ssink; done'
	grep -q ':1:1: for can.t be used' errors
	refused 'ssource *.csv | ssink'
	grep -q ':1:9: a shell would match \* with file names' errors
	refused 'ssource rows.ndjson && ssink'
	grep -q ':1:21: && can.t be used' errors
}

@test "a stage's own complaint is shown at its place in the file" {
	refused 'ssource rows.ndjson | smap "a +" | ssink'
	grep -q '^runnel: error: -c:1:23: smap: ' errors
	sed -n 3p errors | grep -qx '                        ^'
}

@test "an unset variable is an error under set -u, with the name that was meant" {
	refused $'input=rows.ndjson\nset -u\nssource $inptu | ssink'
	grep -q ':3:9: inptu is not set' errors
	grep -q 'did you mean \$input?' errors
}

@test "redirections give the files that bash gives, or are refused" {
	printf '%s\n' 'ssource < rows.ndjson --null y | ssink -f csv > out.csv' >p.sh
	bash p.sh 3>&-
	mv out.csv by_bash
	runnel --quiet --state state p.sh 3>&-
	diff by_bash out.csv
	grep -qx '1,x' out.csv
	rm -rf state
	refused 'ssource rows.ndjson | ssink > rows.csv'
	grep -q ':1:31: behind > bash would get ndjson' errors
	[ ! -e rows.csv ]
}
