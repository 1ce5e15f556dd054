#!/usr/bin/env bats
# Sinks under the supervisor: what shows when, other jobs beside, side outputs, a kill in between.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	export XDG_STATE_HOME="$BATS_TEST_TMPDIR/state"
	cd "$BATS_TEST_TMPDIR" || exit 1
}

teardown() {
	[ -z "${job:-}" ] || kill -9 "$job" 2>/dev/null || true
}

# eventually COMMAND: until it succeeds, at most 20 seconds.
eventually() {
	for _ in $(seq 400); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	return 1
}

slow="ssource 'nexmark:bid?events=60000' --rate 20000"

@test "a file that another job writes is refused, and that one is not disturbed" {
	runnel --name first -c "$slow | ssink -f csv out.csv" 3>&- & job=$!
	eventually 'ls .out.csv.*.part > /dev/null 2>&1'
	run runnel --name second -c "$slow | ssink -f csv out.csv"
	[ "$status" -eq 2 ] || { echo "$status: $output"; return 1; }
	[[ "$output" == *"out.csv: another job is writing it (.out.csv."*".part)"* ]]
	wait "$job"
	job=
	ssource 'nexmark:bid?events=60000' | ssink -f csv alone.csv
	cmp alone.csv out.csv
	[ -z "$(find . -maxdepth 1 -name '.*.part')" ]
}

@test "two jobs write to one directory" {
	runnel --name first --checkpoint 200ms -c "$slow | ssink -f csv --header no out/" 3>&- & job=$!
	runnel --name second --checkpoint 200ms -p 2 -c "$slow | ssink -f csv --header no out/"
	wait "$job"
	job=
	ssource 'nexmark:bid?events=60000' | ssink -f csv --header no alone.csv
	cat alone.csv alone.csv | sort > wanted
	cat out/part-* | sort | cmp - wanted
	[ "$(ls out | cut -d- -f2 | sort -u | wc -l)" -eq 2 ]
	[ -z "$(find out -name '.*')" ]
}

@test "a savepoint of a file in the making starts another job, which takes the rows along" {
	runnel --name first --checkpoint 200ms -c "$slow | ssink -f csv out.csv" 3>&- & job=$!
	eventually '[ -s .out.csv.*.part ]'
	sctl savepoint first sp.tar.zst
	sctl stop first
	wait "$job"
	job=
	part=$(echo .out.csv.*.part)
	runnel --name second --from sp.tar.zst -c "$slow | ssink -f csv out.csv"
	ssource 'nexmark:bid?events=60000' | ssink -f csv alone.csv
	cmp alone.csv out.csv
	rm out.csv "$part"
	run runnel --name third --from sp.tar.zst -c "$slow | ssink -f csv out.csv"
	[ "$status" -eq 4 ] || { echo "$status: $output"; return 1; }
	[[ "$output" == *"the rows before the savepoint were in $part, which is gone"* ]]
	[[ "$output" == *"--drop-state ssink"* ]]
	[ ! -e out.csv ]
	runnel --name third --from sp.tar.zst --drop-state ssink -c "$slow | ssink -f csv out.csv"
	[ "$(wc -l < out.csv)" -lt "$(wc -l < alone.csv)" ]
}

@test "standard output has every row at least once, whatever is killed" {
	runnel --name out --checkpoint 200ms -c "$slow | ssink -f ndjson" > rows 3>&- & job=$!
	eventually '[ -s rows ]'
	kill -9 "$(pgrep -P "$job" ssink)"
	wait "$job"
	job=
	ssource 'nexmark:bid?events=60000' | ssink -f ndjson | sort -u > wanted
	sort -u rows | cmp - wanted
}

@test "a named pipe stays one" {
	mkfifo pipe
	timeout 30 cat pipe > got 3>&- & reader=$!
	runnel --checkpoint 0s -c "ssource 'nexmark:bid?events=20000' | ssink -f csv pipe"
	wait "$reader"
	[ -p pipe ]
	ssource 'nexmark:bid?events=20000' | ssink -f csv alone.csv
	cmp got alone.csv
}

@test "malformed records are the same text under bash and under runnel" {
	printf 'id,amount,note\n1,\xff\xfe,y\n2,3,"q""uoted\nline"\n3,"a\tb",\x01\n4,x\n' > a.csv
	for i in $(seq 5 20000); do echo "$i,$((i % 7)),x"; done >> a.csv
	cat > p.sh <<-'END'
		ssource -s 'id int, amount int, note string' --bad "$1.source" a.csv |
		    smap --bad "$1.map" 'id, 100 / amount as q' | ssink -f csv "$1.csv"
	END
	sed 's/\$1/bash/g' p.sh > bash.sh
	sed 's/\$1/runnel/g' p.sh > runnel.sh
	bash bash.sh
	runnel runnel.sh
	[ "$(wc -l < bash.source)" -eq 3 ]
	[ "$(wc -l < bash.map)" -eq 2857 ]
	cmp bash.source runnel.source
	cmp bash.map runnel.map
	cmp bash.csv runnel.csv
}

@test "--bad files of a stream without rows are empty, not missing" {
	echo a > a.csv
	ssource -s 'a int' --bad s a.csv | smap --bad m '1 / a as b' | ssink null:
	[ -e s ] && [ ! -s s ] && [ -e m ] && [ ! -s m ]
	rm s m
	runnel -c "ssource -s 'a int' --bad s a.csv | smap --bad m '1 / a as b' | ssink null:"
	[ -e s ] && [ ! -s s ] && [ -e m ] && [ ! -s m ]
}

@test "a side output and an output may begin with a dash" {
	printf 'a\n1\nx\n' > in.csv
	runnel -c "ssource -s 'a int' --bad -x.ndjson in.csv | ssink -- -o.csv"
	grep -q '"record":"x"' ./-x.ndjson
	[ "$(cat ./-o.csv)" = "$(printf 'a\n1')" ]
}

@test "two streams of a job go their own ways" {
	printf 'a\n1\nx\n' > in.csv
	mkfifo pipe
	for _ in 1 2 3; do
		timeout 30 cat pipe > bad 3>&- & reader=$!
		runnel --checkpoint 0s -c "ssource -s 'a int' --bad pipe in.csv | ssink -f csv" > good
		wait "$reader"
		[ "$(cat good)" = "$(printf 'a\n1')" ] || { cat good; return 1; }
		grep -q '"record":"x"' bad || { cat bad; return 1; }
	done
}

@test "two sinks of a job to one place are refused" {
	echo a > a.csv
	for pair in 'out out' 'out ./out' 'out/ out//' 'out out/' './out/ out'; do
		run runnel -c "ssource --bad ${pair% *} a.csv | ssink -f csv ${pair#* }"
		[ "$status" -eq 2 ] || { echo "$pair: $status: $output"; return 1; }
		[[ "$output" == *"ssink and ssource-side1 both write to out"* ]] ||
			[[ "$output" == *"ssink and ssource-side1 both write to ./out/"* ]] ||
			{ echo "$output"; return 1; }
		[ ! -e out ]
	done
	runnel -c "ssource --bad null: a.csv | ssink null:"
	runnel -c "ssource --bad /dev/null a.csv | ssink /dev/null"
}

@test "--plan tells what a sink promises" {
	for out in - null: out/ a.csv /dev/null; do
		runnel --plan -p 3 -c "ssource 'nexmark:bid?events=1000' | ssink $out" > "plan"
		grep -A1 '^ssink' plan
	done > said
	sed -i 's/ *reads.*//; s/  */ /g' said
	[ "$(cat said)" = "$(cat <<-'END'
		ssink x1
		 standard output: at least once, at each checkpoint
		ssink x3
		 null: nothing is kept
		ssink x3
		 directory out/: exactly once, part files appear at each checkpoint
		ssink x1
		 file a.csv: exactly once, appears at the end
		ssink x1
		 /dev/null: at least once, at each checkpoint
	END
	)" ] || { cat said; return 1; }
	[ -z "$(find . -name '*.csv' -o -name out)" ]
}
