#!/usr/bin/env bats
# Avro out and in again: files, records by a schema, messages of a registry; what is refused and how.

bats_require_minimum_version 1.5.0

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	BIN=$(cd "${BIN:-$root/build/bin}" && pwd)
	PATH=$BIN:$PATH
	export PYTHONPATH=$root/tests/tools XDG_STATE_HOME=$BATS_TEST_TMPDIR/home NO_COLOR=1 LC_ALL=C
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'id,name,at\n1,x,2024-01-01T00:00:00Z\n2,"y,""q",\n3000000000,"",1924-01-02T00:00:01.5Z\n' >a.csv
}

# says STATUS TEXT COMMAND: fails so, with this on standard error.
says() {
	local want=$1 text=$2
	shift 2
	run --separate-stderr bash -c "$*"
	[ "$status" -eq "$want" ] || { echo "status $status: $stderr"; return 1; }
	[[ "$stderr" == *"$text"* ]] || { echo "$stderr"; return 1; }
}

@test "options that mean nothing, or not together, are refused" {
	says 2 '--avro-codec is for -f avro' 'ssink --avro-codec deflate -f csv </dev/null'
	says 2 '--registry is for -f avro' 'ssink --registry . </dev/null'
	says 2 "'bzip2' is none of" 'ssink -f avro --avro-codec bzip2 </dev/null'
	says 2 '--avro-schema is for bare records' 'ssink -f avro --avro-schema a --registry . </dev/null'
	says 2 '--avro-codec is for the blocks of a file' 'ssink -f avro --avro-schema a --avro-codec snappy </dev/null'
	says 2 'avro messages need --registry or --avro-schema' 'ssink -f avro kafka://localhost/t </dev/null'
}

@test "a file has the rows, in every codec, and another reader has them, too" {
	ssource a.csv | ssink want.ndjson
	for codec in null deflate snappy zstandard; do
		ssource a.csv | ssink --avro-codec $codec $codec.avro
		ssource $codec.avro | ssink -f ndjson | diff want.ndjson -
		ssource a.csv | ssink -f avro --avro-codec $codec | cmp - $codec.avro
	done
	for codec in null deflate; do
		python3 -c 'import avro, sys
schema, codec, rows, _ = avro.read_file(open(sys.argv[1] + ".avro", "rb").read())
assert codec == sys.argv[1]
assert [f["name"] for f in schema["fields"]] == ["id", "name", "at"], schema
assert rows == [{"id": 1, "name": "x", "at": 1704067200000000}, {"id": 2, "name": "y,\"q", "at": None},
	{"id": 3000000000, "name": "", "at": -1451606398500000}], rows' $codec
	done
	ssource --limit 0 a.csv | ssink none.avro
	python3 -c 'import avro; assert avro.read_file(open("none.avro", "rb").read())[2] == []'
	ssource a.csv | ssink p.avro.gz
	ssource p.avro.gz | ssink -f ndjson | diff want.ndjson -
	mkdir d && ssource a.csv | ssink -f avro --partition id d/
	[ "$(ssource d/*/*.avro | swindow 'count(*) as n' | ssink -f ndjson)" = '{"n":3}' ]
}

@test "in a union a whole number goes to a branch of whole numbers, wherever that stands" {
	echo '{"type":"record","name":"r","fields":[{"name":"v","type":["null","double","long","string"]}]}' >s.avsc
	printf '{"v":%s}\n' 1 1.5 '"x"' null 9007199254740993 >v.ndjson
	ssource -s 'v any' v.ndjson | ssink -f avro --avro-schema s.avsc | ssource -f avro --avro-schema s.avsc - |
		ssink -f ndjson | diff v.ndjson -
}

@test "a changelog's op is the first field, and a column of its name is refused" {
	ssource a.csv | swindow --emit changes -k id 'count(*) as n' >changes.frames
	ssink -f avro <changes.frames | ssource -f avro - | ssink -f csv >got
	[ "$(sed -n '1p;2p' got)" = "$(printf 'op,id,n\n+I,1,1')" ]
	says 2 "a changelog's op is the field 'op'" "smap '*, 1 as op' <changes.frames | ssink -f avro"
	says 2 "'dep delay' is no name in Avro" "ssource a.csv | smap 'id as \"dep delay\"' | ssink -f avro"
}

@test "by a given schema: narrower, nested, named; what doesn't fit is told" {
	cat >s.avsc <<-'END'
	{"type": "record", "name": "r", "fields": [
		{"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
		{"name": "id", "type": "int"},
		{"name": "name", "type": {"type": "enum", "name": "e", "symbols": ["x", "z"]}},
		{"name": "more", "type": ["null", {"type": "record", "name": "m", "fields": [
			{"name": "tags", "type": {"type": "array", "items": "string"}},
			{"name": "n", "type": ["null", "double"]}]}]}]}
	END
	printf '%s\n' '{"id":1,"name":"x","more":{"tags":["a","b"]}}' '{"id":2,"name":"z","more":null}' \
		'{"id":3,"name":"x","more":{"n":1.5,"tags":[]}}' >n.ndjson
	ssource n.ndjson | ssink -f avro --avro-schema s.avsc >bare
	ssource -f avro --avro-schema s.avsc bare | ssink -f ndjson | diff - <(cat <<-'END'
	{"at":null,"id":1,"name":"x","more":{"tags":["a","b"],"n":null}}
	{"at":null,"id":2,"name":"z","more":null}
	{"at":null,"id":3,"name":"x","more":{"tags":[],"n":1.5}}
	END
	)
	says 1 "column 'name': y,\"q is no Avro enum" 'ssource a.csv | ssink -f avro --avro-schema s.avsc'
	says 1 "column 'id': 3000000000 is no Avro int" \
		"ssource a.csv | smap \"* except (name), 'x' as name\" | ssink -f avro --avro-schema s.avsc"
	says 1 "column 'id' is null, and its field in Avro may not be" \
		"ssource a.csv | smap \"*, nullif(id, 1) as id, 'x' as name\" | ssink -f avro --avro-schema s.avsc"
	says 2 "column 'b' has no field in the Avro schema" \
		"ssource a.csv | smap '*, 1 as b' | ssink -f avro --avro-schema s.avsc"
	says 2 "field 'id' is no column, and may not be null" \
		"ssource a.csv | smap '* except (id)' | ssink -f avro --avro-schema s.avsc"
	says 2 "'id' is int in the Avro schema, and the column is bool" \
		"ssource a.csv | smap '*, true as id' | ssink -f avro --avro-schema s.avsc"
	says 2 'none.avsc' 'ssource a.csv | ssink -f avro --avro-schema none.avsc'
	echo '{"type": "record"' >bad.avsc
	says 1 'bad.avsc: no Avro schema' 'ssource a.csv | ssink -f avro --avro-schema bad.avsc'
}

@test "messages by a directory of schemas" {
	mkdir r
	says 2 'r has no file <number>.avsc with the schema of these columns' \
		'ssource a.csv | ssink -f avro --registry r'
	sed -n 's/^it is: //p' <<<"$stderr" >r/258.avsc
	ssource a.csv | ssink -f avro --registry r >messages
	[ "$(head -c 5 messages | od -An -tx1)" = ' 00 00 00 01 02' ]
	ssource -f avro --registry r messages | ssink -f csv | diff <(ssource a.csv | ssink -f csv) -
	says 5 'neither http:// nor a directory' 'ssource a.csv | ssink -f avro --registry none'
}

@test "a restored job goes on with its file, and not with another codec" {
	cat >job.sh <<-'END'
	ssource --rate 2000 'nexmark:bid?events=4000' | ssink --avro-codec ${CODEC:-deflate} out.avro
	END
	runnel --state s --checkpoint 100ms job.sh >log 2>&1 3>&- &
	job=$!
	# The part grows at a checkpoint, and more than its header is there.
	for _ in $(seq 200); do
		[ "$(cat .out.avro.*.part 2>/dev/null | wc -c)" -lt 20000 ] || break
		sleep 0.05
	done
	kill -TERM $job
	wait $job || true
	[ ! -e out.avro ]
	says 4 'begun with other columns, or another codec or schema' 'CODEC=null runnel --state s job.sh'
	runnel --state s --checkpoint 100ms job.sh >>log 2>&1 3>&- &
	job=$!
	sleep 0.3
	kill -9 $job
	wait $job || true
	runnel --state s --checkpoint 100ms job.sh >>log 2>&1
	ssource out.avro | ssink -f csv >got
	ssource 'nexmark:bid?events=4000' | ssink -f csv | diff -q - got
	python3 -c 'import avro
assert len(avro.read_file(open("out.avro", "rb").read())[2]) == sum(1 for _ in open("got")) - 1'
}

@test "a field may be several columns, each in its own way" {
	ssource a.csv | ssink a.avro
	ssource -s 'id int, id float as f, at timestamp, id decimal(12,1) as d, name string, name bytes as b' a.avro |
		ssink -f csv | diff - <(cat <<-'END'
	id,f,at,d,name,b
	1,1.0,2024-01-01T00:00:00Z,1.0,x,eA==
	2,2.0,,2.0,"y,""q",eSwicQ==
	3000000000,3000000000.0,1924-01-02T00:00:01.500Z,3000000000.0,"",""
	END
	)
}

@test "damage is told with its record, or passed over" {
	ssource a.csv | ssink --avro-codec null a.avro
	head -c -3 a.avro >cut.avro
	says 3 'the file ends in the middle of a block' 'ssource cut.avro | ssink -f csv'
	python3 -c 'd = bytearray(open("a.avro", "rb").read()); d[-1] ^= 1; open("bad.avro", "wb").write(d)'
	says 3 "isn't followed by the file's marker" 'ssource bad.avro | ssink -f csv'
	says 3 'is no Avro container file' 'ssource -f avro a.csv | ssink -f csv'
}

@test "hostile files: a codec that is an escape sequence, rows out of nothing, bombs, types named alike" {
	python3 - <<-'END'
	import json, zlib
	def z(n):
	    out = b""
	    n = n << 1 ^ n >> 63
	    while n > 0x7f:
	        out, n = out + bytes([n & 0x7f | 0x80]), n >> 7
	    return out + bytes([n])
	def text(b):
	    return z(len(b)) + b
	def write(name, codec, fields, count, data):
	    schema = json.dumps({"type": "record", "name": "r", "fields": fields}).encode()
	    open(name, "wb").write(b"Obj\x01" + z(2) + text(b"avro.schema") + text(schema) + text(b"avro.codec") +
	                           text(codec) + z(0) + b"S" * 16 + z(count) + z(len(data)) + data + b"S" * 16)
	one = [{"name": "a", "type": "long"}]
	write("codec.avro", b"\x1b[31m\xff" + b"x" * 999, one, 1, z(1))
	write("nothing.avro", b"null", [{"name": "a", "type": "null"}], 200_000_000, b"")
	c = zlib.compressobj(9, zlib.DEFLATED, -15)
	write("bomb.avro", b"deflate", one, 1 << 28, c.compress(bytes(300 << 20)) + c.flush())
	write("array.avro", b"null", [{"name": "a", "type": {"type": "array", "items": "null"}}], 1, z(1 << 40) + z(0))
	write("alike.avro", b"null", [{"name": n, "type": {"type": "fixed", "name": "f", "size": 1}} for n in "ab"], 1, b"xy")
	END
	[[ "$BIN" = *san* ]] || ulimit -v 4000000
	says 1 "codec.avro: its blocks are compressed as '?[31m?xxx" 'ssource codec.avro'
	[ "${#stderr}" -lt 200 ]
	says 1 "nothing.avro: record 1: a block of more records than it has bytes" 'ssource nothing.avro'
	says 1 "bomb.avro: record 1: a block that can't be decompressed" 'ssource bomb.avro'
	says 1 "array.avro: record 1:" 'ssource array.avro'
	says 1 "alike.avro: the Avro schema names two types alike" 'ssource alike.avro'
}

@test "debezium-json: an event is a row or two, and what is none is told" {
	ssource a.csv | swindow --emit changes -k name 'count(*) as n' >c.frames
	ssink -f debezium-json <c.frames >events
	ssource -f debezium-json events | ssink -f csv | diff <(ssink -f csv <c.frames) -
	printf '%s\n' '{"before":null,"after":{"a":1},"op":"c"}' '{"op":"x"}' '{"before":null,"after":null,"op":"c"}' \
		'[1]' '{"before":{"a":1},"after":{"a":2},"op":"u"}' '{"payload":{"before":{"a":2},"after":null,"op":"d"}}' >e
	ssource -f debezium-json --bad bad.ndjson e | ssink -f csv | diff - <(printf '%s\n' op,a +I,1 -U,1 +U,2 -D,2)
	[ "$(python3 -c 'import json; print([json.loads(l)["line"] for l in open("bad.ndjson")])')" = '[2, 3, 4]' ]
}
