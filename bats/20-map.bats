#!/usr/bin/env bats
# smap: select lists, conditions, rows that fail, side outputs, event time.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'a,b,t\n1,x,2024-01-01T00:00:00Z\n0,y,2024-01-01T00:00:05Z\n2,z,\n' > d.csv
}

# gives WANT ARGUMENT...: the rows of d.csv through smap, as csv with spaces for newlines.
gives() {
	local want=$1 got
	shift
	got=$(ssource d.csv | smap "$@" | ssink -f csv | tr '\n' ' ')
	[ "$got" = "$want " ] || { echo "got: $got"; return 1; }
}

# fails STATUS TEXT ARGUMENT...
fails() {
	local status_wanted=$1 text=$2
	shift 2
	ssource d.csv > d.frames
	run bash -c 'smap "$@" < d.frames 2>&1 > /dev/null' smap "$@"
	[ "$status" -eq "$status_wanted" ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "wrong expressions exit 2 and point at the place" {
	fails 2 "-w:1:4: expected a value" -w 'a >'
	fails 2 "the input has no column 'aa'" aa
	fails 2 "its columns: a, b, t" aa
	fails 2 "not a bool" -w a
	fails 2 "is there a * that the shell expanded?" a b
}

# shows TEXT ARGUMENT...: the whole message is TEXT, and nothing but HELLO and ERROR comes out.
shows() {
	local want=$1 status=0
	shift
	ssource d.csv | smap "$@" >out 2>errors || status=$?
	[ "$status" -eq 2 ]
	diff <(printf '%s\n' "$want") errors
	[[ "$(python3 "$top/tests/tools/frames.py" --kinds <out)" =~ ^(HELLO\ (TICK\ )?ERROR)?$ ]]
}

@test "messages have the sentence, the place, and what helps, in this order" {
	shows "smap: error: select list:1:5: the input has no column 'B'
  a + B
      ^
did you mean 'b'?
its columns: a, b, t" 'a + B'
	shows "smap: error: select list:1:1: unknown function lenght()
  lenght(b)
  ^
did you mean length()?" 'lenght(b)'
	shows "smap: error: -w:1:5: the input has no column 'x'
  b = \"x\"
      ^
its columns: a, b, t
\"...\" is a name; a text is written 'x'" -w 'b = "x"'
	shows "smap: error: -w:1:1: string and int don't go together
  b = 1
  ^
cast one of them: x::string" -w 'b = 1'
	shows "smap: error: select list:1:1: sum() is an aggregate: it belongs into swindow's list
  sum(a)
  ^" 'sum(a)'
}

@test "what other languages write is answered with SQL's word" {
	shows "smap: error: -w:1:3: equality is written =
  a == 1
    ^" -w 'a == 1'
	fails 2 "'and' is written in letters" -w 'a = 1 && t is null'
	fails 2 "'or' is written in letters" -w 'a = 1 | t is null'
	fails 2 "'not' is written in letters" -w '! (a = 1)'
	gives "b x z" -w 'a != 0' b
}

@test "a * that the shell expanded is suspected" {
	mkdir -p dir
	touch dir/one dir/two
	ssource d.csv >d.frames
	cd dir
	run bash -c 'smap -w "a = 1" * <../d.frames 2>&1 >/dev/null'
	[ "$status" -eq 2 ]
	[ "${lines[0]}" = "smap: error: one select list, not 2; the second is 'two'" ]
	[ "${lines[1]}" = "is there a * that the shell expanded?  Quote it: smap '*, a + b as c'" ]
}

@test "an expression that starts with - stands behind --" {
	gives "-a -1 0 -2" -- '-a'
	fails 2 "an argument that starts with - stands behind --" '-a'
}

@test "wrong options exit 2" {
	fails 2 "--else needs a condition" --else x.frames
	fails 2 "-d belongs to --assign-time" -d 1s
	fails 2 "'a' is of type int, not a timestamp" --assign-time a
	fails 2 "no column 'zz'" --assign-time zz
	fails 2 "no column 'zz'" --explode zz
	fails 2 "not any (an array)" --explode b
}

@test "a value an expression fails on stops the stage and shows the row" {
	fails 1 "division by zero" '10 / a'
	fails 1 "for the row a=0, b=y" '10 / a'
	fails 1 "for the row a=0, b=y" -w "b <> 'x'" '10 / a'
	fails 1 "for the row a=0, b=y" -w '10 / a > 1'
}

@test "--bad sends such rows elsewhere and goes on" {
	gives "q,b 10,x 5,z" --bad skip '10 / a as q, b'
	gives "b x" --bad skip -w '10 / a > 5' b
	gives "q 10 5" --bad bad.ndjson '10 / a as q'
	[ "$(wc -l < bad.ndjson)" -eq 1 ]
	# Nothing under the name of a stream that breaks off.
	ssource d.csv | head -c -16 > cut.frames
	run bash -c 'smap --bad cut.ndjson "10 / a" < cut.frames 2>&1 > /dev/null'
	[ "$status" -eq 3 ]
	[ ! -e cut.ndjson ]
	python3 -c 'import json; r = json.load(open("bad.ndjson"))
assert r["record"].startswith("a=0, b=y") and "division by zero" in r["reason"], r'
	run bash -c 'ssource d.csv | smap --bad skip "10 / a" | ssink null:'
	[[ "$output" == *"1 malformed record skipped"* ]]
}

@test "select lists choose, compute, rename and replace" {
	gives "a,b,t 1,x,2024-01-01T00:00:00Z 0,y,2024-01-01T00:00:05Z 2,z,"
	gives "b,z x,1 y,0 z,2" '* except (a, t), a as z'
	gives "n,b 1,x 0,y 2,z" '* except (t) rename (a as n)'
	gives "a,b,c 2,x,2 1,y,1 3,z,3" 'a + 1 as a, b, a + 1 as c'
	gives "a + 1 2 1 3" 'a + 1'
}

@test "a condition passes what is true: neither false nor null" {
	gives "b y" -w "t > timestamp '2024-01-01 00:00:01'" b
	gives "b" -w 'a > 10' b
	gives "b x y z" -w 'true' b
}

@test "--else takes all other rows, as frames" {
	gives "a,b 1,x" -w "t < timestamp '2024-01-01 00:00:01'" --else e.frames 'a, b'
	[ "$(ssink -f csv e.frames.csv < e.frames && tr '\n' ' ' < e.frames.csv)" = \
		"a,b,t 0,y,2024-01-01T00:00:05Z 2,z, " ]
}

@test "expressions come from files, with comments" {
	printf -- '-- the condition\na >= 1 -- and no more\n' > cond.sql
	printf 'b, a * 2\nas twice' > list.sql
	gives "b,twice x,2 z,4" -w @cond.sql @list.sql
	printf 'a >=\n  1 +' > cond2.sql
	fails 2 "cond2.sql:2:" -w @cond2.sql
	fails 5 "nope: can't open" @nope
}

@test "--explode gives a row per element; what is no array is an error" {
	printf '{"k":1,"v":[1,"a",{"x":[2]}]}\n{"k":2,"v":[]}\n{"k":3,"v":null}\n{"k":4,"v":[null]}\n' > v.ndjson
	ssource v.ndjson -s 'k int, v any' | smap --explode v | ssink > out
	printf '{"k":1,"v":1}\n{"k":1,"v":"a"}\n{"k":1,"v":{"x":[2]}}\n{"k":4,"v":null}\n' > want
	cat out
	cmp want out
	echo '{"k":1,"v":7}' > w.ndjson
	run bash -c 'ssource w.ndjson -s "k int, v any" | smap --explode v 2>&1 > /dev/null'
	[ "$status" -eq 1 ]
	[[ "$output" == *"'v' is no array: 7"* ]]
}

@test "event time stays with its column, also renamed, and goes with it" {
	printf 'a,t\n1,2024-01-01T00:00:00Z\n2,2024-01-01T00:00:09Z\n' > t.csv
	count() { ssource t.csv -t t | smap "$@" | swindow --tumble 5s 'count(*) as n' | ssink -f csv --header no; }
	[ "$(count | wc -l)" -eq 2 ]
	[ "$(count 't as at, a' | wc -l)" -eq 2 ]
	[ "$(ssource t.csv | smap --assign-time t -d 1s | swindow --tumble 5s 'count(*) as n' | ssink -f csv --header no | wc -l)" -eq 2 ]
	run bash -c 'ssource t.csv -t t | smap --name thin a | swindow --tumble 5s "count(*)" 2>&1 > /dev/null'
	[ "$status" -eq 2 ]
	[ "${lines[0]}" = "swindow: error: windows need an event time, and the stream from thin has none" ]
	[[ "${lines[1]}" == *"smap must keep that column"* ]]
}

@test "an assigned event time that is null is an error with the way out" {
	fails 1 "-w 't is not null'" --assign-time t
}

@test "many rows through a filter equal the same filter in Python" {
	ssource nexmark:bid?events=30000 | tee all.frames | smap -w 'price % 3 = 1 and auction > 1005' 'bidder, price * 2 as p, channel' | ssink > got
	ssink < all.frames | python3 -c '
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    if r["price"] % 3 == 1 and r["auction"] > 1005:
        print(json.dumps({"bidder": r["bidder"], "p": r["price"] * 2, "channel": r["channel"]}, separators=(",", ":")))' > want
	[ -s want ]
	cmp want got
}
