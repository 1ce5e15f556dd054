#!/usr/bin/env bats
# ssink: formats that other tools read back, files that appear whole, outputs that fail.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'a,b,t\n1,x,2024-01-01\n2,"y,""q",\n,"",2024-01-02\n' > a.csv
}

# fails STATUS TEXT ARGUMENT...: ssink on a.csv ends with that status and says TEXT.
fails() {
	local status_wanted=$1 text=$2
	shift 2
	ssource a.csv > a.frames
	run ssink "$@" < a.frames
	[ "$status" -eq "$status_wanted" ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "outputs that don't exist are refused by name" {
	fails 2 "can't write to gopher://" gopher://host:1
	fails 2 "one OUTPUT, not 2" a.ndjson b.ndjson
	fails 5 "none/a.csv: can't create: No such file or directory" none/a.csv
	: > file
	fails 5 "file/" file/
}

@test "a name that promises what wouldn't be in the file is refused" {
	fails 2 "x.csv.bz2: can't compress to .bz2" x.csv.bz2
	fails 2 "a name may end in .gz, .zst or .lz4" x.zip
	fails 2 "x.parquet: there is no format parquet" x.parquet
	fails 2 "-f csv, for example, says what to write" x.xlsx
	[ -z "$(ls -A | grep '^x')" ]
	fails 0 "" -f csv x.parquet
	cmp a.csv x.parquet
}

@test "wrong options exit 2 and say what there is" {
	fails 2 "'cvs' is none of" -f cvs
	fails 2 "'maybe' is none of" --header maybe
	fails 2 "it is one byte" --delimiter '||'
	fails 2 "lines takes one string column, not 3" -f lines
}

@test "a full disk is one message and status 5" {
	ssource a.csv > a.frames
	run bash -c 'ssink < a.frames > /dev/full'
	[ "$status" -eq 5 ]
	[ "${#lines[@]}" -eq 1 ]
	[ "$output" = "ssink: error: standard output: can't write: No space left on device" ]
	fails 5 "/dev/full: can't write: No space left" /dev/full
}

@test "a reader that has enough ends ssink silently" {
	run bash -c 'ssource nexmark:bid?events=200000 | ssink | head -n 1 > first; echo "${PIPESTATUS[*]}"'
	[ "$output" = "0 141 0" ]
	[ "$(wc -l < first)" -eq 1 ]
}

@test "a stream without END leaves nothing, and what was there stays" {
	ssource nexmark:bid?events=50000 > all.frames
	head -c 100000 all.frames > cut.frames
	echo before > out.ndjson
	for out in out.ndjson new.csv new.csv.zst dir/; do
		run ssink "$out" < cut.frames
		[ "$status" -eq 3 ] || { echo "$out: $status $output"; return 1; }
	done
	[ "$(cat out.ndjson)" = before ]
	[ ! -e new.csv ]
	[ ! -e new.csv.zst ]
	[ -z "$(ls -A dir)" ]
	[ -z "$(find . -name '.*' -type f)" ]
	run ssink new.csv < /dev/null
	[ "$status" -eq 3 ]
	[ ! -e new.csv ]
}

@test "a file isn't there before the end, and then is whole" {
	mkfifo p
	ssink out.ndjson < p 3>&- &
	pid=$!
	exec 7> p
	ssource nexmark:bid?events=20000 > all.frames
	head -c 1000000 all.frames >&7
	until [ "$(awk '/^rchar/ { print $2 }' /proc/$pid/io)" -ge 1000000 ]; do kill -0 $pid; done
	[ ! -e out.ndjson ]
	tail -c +1000001 all.frames >&7
	exec 7>&-
	wait $pid
	cmp out.ndjson <(ssink < all.frames)
}

@test "csv: null is empty, the empty string is quoted, only what must be is" {
	cmp a.csv <(ssource a.csv | ssink -f csv)
	printf '1;x;2024-01-01\n2;"y,""q";\n;"";2024-01-02\n' > want
	cmp want <(ssource a.csv | ssink -f csv --header no --delimiter ';')
	printf 'a\tb\tt\n' > want
	cmp want <(ssource --limit 0 a.csv | ssink -f tsv)
}

@test "the extension chooses format and compression, which the standard tools undo" {
	for x in gz zst lz4; do
		ssource a.csv | ssink "b.csv.$x"
		ssource --limit 0 a.csv | ssink "e.ndjson.$x"
		ssource nexmark:bid?events=30000 | ssink "n.ndjson.$x"
	done
	ssource nexmark:bid?events=30000 | ssink n.ndjson
	cmp a.csv <(gzip -dc b.csv.gz)
	cmp a.csv <(zstd -qdc b.csv.zst)
	cmp a.csv <(lz4 -dc b.csv.lz4)
	cmp n.ndjson <(gzip -dc n.ndjson.gz)
	cmp n.ndjson <(zstd -qdc n.ndjson.zst)
	cmp n.ndjson <(lz4 -dc n.ndjson.lz4)
	[ "$(gzip -dc e.ndjson.gz; zstd -qdc e.ndjson.zst; lz4 -dc e.ndjson.lz4)" = "" ]
	gzip -t e.ndjson.gz
	cmp a.csv <(ssource a.csv | ssink -f csv --compress gz | gzip -dc)
}

@test "a directory gets part files under their final names only" {
	ssource a.csv | ssink -f csv out/
	[ "$(ls -A out)" = "part-0-1.csv" ]
	cmp a.csv out/part-0-1.csv
	ssource a.csv | ssink -f csv --compress zst out/
	cmp a.csv <(zstd -qdc out/part-0-1.csv.zst)
	ssource --limit 0 a.csv | ssink none/
	[ -d none ]
	[ -z "$(ls -A none)" ]
	ssource a.csv | ssink -f frames fr/
	cmp a.csv <(ssink -f csv < fr/part-0-1.frames)
	ssource nexmark:bid?events=30000 > n.frames
	ssink -f table t/ < n.frames
	cmp t/part-0-1.table <(ssink -f table < n.frames)
}

@test "null: counts and drops" {
	run bash -c 'ssource a.csv | ssink null:'
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	run bash -c 'ssource a.csv | ssink -v null:'
	[[ "$output" == *"3 rows"* ]]
}

@test "frames written are frames read" {
	ssource a.csv | ssink a.frames
	cmp a.csv <(ssink -f csv < a.frames)
	ssource --limit 0 a.csv | ssink -f frames | ssink -f csv > out
	[ "$(cat out)" = "a,b,t" ]
}

@test "a table is aligned, cut and tame" {
	ssource a.csv | ssink -f table > out
	cat > want <<-END
	a  b     t
	─  ────  ──────────
	1  x     2024-01-01
	2  y,"q  
	         2024-01-02
	END
	diff want out
	printf '{"n":5,"日本":"\\u001b[2J\\u009b2J"}\n{"n":12345,"日本":"東京"}\n' |
		ssource -f ndjson - | ssink -f table > out
	[[ "$(sed -n 3p out)" == "    5  "* ]]
	[ "$(grep -c "$(printf '\033')" out)" -eq 0 ]
	[ "$(grep -c "$(printf '\302\233')" out)" -eq 0 ]
}

@test "what is written reads back the same in Python" {
	python3 "$top/tests/writer_oracle.py"
}
