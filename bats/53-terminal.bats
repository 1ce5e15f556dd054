#!/usr/bin/env bats
# What a person sees on a terminal: tables, the table of a changelog drawn in place, resizing, no colour.

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	BIN=$(cd "${BIN:-$root/build/bin}" && pwd)
	PATH=$BIN:$PATH
	export PYTHONPATH=$root/tests/tools PYTHONDONTWRITEBYTECODE=1
	cd "$BATS_TEST_TMPDIR" || exit 1
	changelog="python3 $root/tests/tools/changelog.py"
	printf '+I 1 10\n+I 2 20\n-U 1 10\n+U 1 11\n-D 2 20\n+I 3 30\n' > script
	$changelog 'k int, v int' k < script > c.frames
}

@test "a program that fails says so below what was shown" {
	head -c -8 c.frames > cut.frames
	python3 - <<-'END'
	import screen
	s = screen.Screen(24, 80)
	s.run("ssink < cut.frames")
	s.finish()
	assert s.status == 3, s.status
	assert "ended without END" in s.text(), s.text()
	END
}

@test "a changelog is the table it describes, which stays at the end" {
	python3 - <<-'END'
	import screen
	for command in "ssink < c.frames", "ssink -f table < c.frames", "smap '*' < c.frames":
	    s = screen.Screen(24, 80)
	    s.run(command)
	    assert s.finish() == "k   v\n─  ──\n1  11\n3  30", s.text()
	    assert s.status == 0
	END
	# elsewhere every change is a row
	ssink -f table < c.frames > out
	[ "$(head -n 3 out | tail -n 1)" = "+I  1  10" ]
	[ "$(grep -c "$(printf '\033')" out)" -eq 0 ]
}

@test "it is drawn again in its place as it changes, at most 12 times a second" {
	cat > slow <<-'END'
	+I 1 10
	+I 2 20
	sleep 0.3
	-U 1 10
	+U 1 11
	sleep 0.3
	-D 2 20
	+I 3 30
	sleep 0.3
	END
	for i in $(seq 11 410); do
		printf -- '-U 1 %d\n+U 1 %d\nsleep 0.002\n' "$i" $((i + 1)) >> slow
	done
	export changelog
	python3 - <<-'END'
	import os, screen, time
	s = screen.Screen(24, 80)
	began = time.monotonic()
	s.run(os.environ["changelog"] + " 'k int, v int' k < slow | ssink")
	s.until(lambda: s.text() == "k   v\n─  ──\n1  10\n2  20")
	s.until(lambda: s.text() == "k   v\n─  ──\n1  11\n2  20")
	s.until(lambda: s.text() == "k   v\n─  ──\n1  11\n3  30")
	drawn = s.drawings
	assert s.finish().startswith("k    v\n─  ───\n1  411"), s.text()
	seconds = time.monotonic() - began
	assert drawn >= 3 and s.drawings <= 4 + 13 * seconds, (drawn, s.drawings, seconds)
	END
}

@test "what comes in one burst is drawn although nothing follows" {
	mkfifo p
	export changelog
	python3 - <<-'END'
	import os, screen
	s = screen.Screen(24, 80)
	s.run("(printf '+I 1 1\\nsleep 0.02\\n-U 1 1\\n+U 1 2\\nsleep 3\\n') | "
	      + os.environ["changelog"] + " 'k int, v int' k | ssink")
	s.until(lambda: s.text() == "k  v\n─  ─\n1  2", 2.9)
	s.finish()
	END
}

@test "it fits the screen, says how many more there are, and follows its size" {
	for i in $(seq 100 149); do
		echo "+I $i \"a text that is rather long for a narrow terminal\""
	done > many
	echo "sleep 2" >> many
	$changelog 'k int, v string' k < many > /dev/null
	export changelog
	python3 - <<-'END'
	import os, screen
	s = screen.Screen(10, 30)
	s.run(os.environ["changelog"] + " 'k int, v string' k < many | ssink")
	s.until(lambda: "44 more" in s.text())
	lines = s.text().split("\n")
	assert len(lines) == 9 and all(len(l) <= 30 for l in lines), lines
	assert lines[2] == "100  a text that is rather lo…", lines
	assert not s.scrolled, s.scrolled
	s.resize(20, 60)
	s.until(lambda: "34 more" in s.text())
	lines = s.text().split("\n")
	assert len(lines) == 19 and "narrow terminal" in lines[2], lines
	s.resize(5, 12)
	s.until(lambda: "49 more" in s.text())
	assert all(len(l) <= 12 for l in s.text().split("\n"))
	shown = s.finish()
	assert shown.split("\n")[-1].startswith("149 "), shown
	END
}

@test "an interrupt leaves the whole table" {
	export changelog
	python3 - <<-'END'
	import os, screen
	s = screen.Screen(24, 80)
	s.run("(cat script; echo sleep 30) | " + os.environ["changelog"] + " 'k int, v int' k | ssink")
	s.until(lambda: "3  30" in s.text())
	os.write(s.fd, b"\x03")
	shown = s.finish()
	assert "k   v\n─  ──\n1  11\n3  30\n" in shown, shown
	END
}

@test "NO_COLOR means no colour, and a dumb terminal no control sequences" {
	python3 - <<-'END'
	import screen
	bold = []
	for env in {}, {"NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": "1"}:
	    s = screen.Screen(24, 80)
	    s.run("ssink < c.frames", env)
	    s.finish()
	    bold.append(s.bold > 0)
	assert bold == [True, False, False], bold
	assert b"\x1b" not in s.raw
	assert "op  k   v" in s.text() and "-D  2  20" in s.text(), s.text()
	END
}

@test "rows without a changelog flow, also from a program that isn't ssink" {
	printf 'a,b\n1,x\n2,y\n' > a.csv
	python3 - <<-'END'
	import screen
	for command in "ssource a.csv", "ssource a.csv | ssink", "ssource a.csv | smap '*'":
	    s = screen.Screen(24, 80)
	    s.run(command)
	    assert s.finish() == "a  b\n─  ─\n1  x\n2  y", s.text()
	    assert s.status == 0 and s.drawings == 0
	s = screen.Screen(24, 80)
	s.run("ssource --rate 20 'nexmark:bid?events=40' | smap auction")
	s.until(lambda: s.status is None and "auction" in s.text())
	s.finish()
	END
}
