/* Real programs under a coordinator: checkpoints in mid-stream, kill -9, restored in new processes,
 * also with the keyed state split over other ranges of key groups: the output is that of an
 * undisturbed run. */
#include "tests/support/coordinator.h"

#include "libcore/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];
static char output[128];

static int make_directory(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/runnel-line-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(output, sizeof output, "%s/out.csv", directory);
	return 0;
}

static int remove_directory(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command);
}

/* ---- the messages themselves ---- */

static void messages_arrive_as_they_were_sent(void **state)
{
	struct line_message ack = {.kind = LINE_ACK, .number = 7, .text = "a/b.frames",
		.bytes = UINT64_C(1) << 40, .hash = UINT64_MAX, .handle = (const uint8_t *)"\0x",
		.handle_len = 2}, got;
	struct error e = ERROR_INIT;
	struct line *a, *b;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	a = line_new(fds[0]);
	b = line_new(fds[1]);
	assert_int_equal(line_read(b, false, &got, &e), LINE_AGAIN);
	assert_int_equal(line_send(a, &ack, &e), 0);
	assert_int_equal(line_read(b, true, &got, &e), LINE_MESSAGE);
	assert_int_equal(got.kind, LINE_ACK);
	assert_int_equal(got.number, 7);
	assert_string_equal(got.text, "a/b.frames");
	assert_true(got.bytes == ack.bytes && got.hash == ack.hash);
	assert_int_equal(got.handle_len, 2);
	assert_memory_equal(got.handle, "\0x", 2);
	line_free(a);
	assert_int_equal(line_read(b, true, &got, &e), LINE_CLOSED);
	line_free(b);
}

/* Both ends of a line; what the test writes to *to is what is read. */
static struct line *line_from(int *to)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	*to = fds[0];
	return line_new(fds[1]);
}

static void a_description_keeps_what_it_says_and_defaults_what_it_doesnt(void **state)
{
	/* {"line": 1, "type": "x", "more": [1, {}], "spread": "keyed", "keys": [["a"]]} in ext 8 */
	static const uint8_t text[] = "\xc7\x2c\x36\x85\xa4line\x01\xa4type\xa1x\xa4more\x92\x01\x80"
		"\xa6spread\xa5keyed\xa4keys\x91\x91\xa1" "a";
	struct line_message sent = {.kind = LINE_DESCRIPTION, .description = {.type = "swindow", .inputs = 2,
		.outputs = 3, .bounded = true, .about = {.name = "w", .spread = STAGE_KEYED, .keys = {{"a", "b"},
		{"c"}}, .keys_len = {2, 1}, .inputs = {NULL, "x.csv"}, .sides = {{"l", "csv"}},
		.keeps = "k", .guarantee = "g", .writes = "w",
		.epoch_max_us = 600000000, .whole_file = true}}}, got;
	const struct stage_description *about = &got.description.about;
	struct error e = ERROR_INIT;
	struct line *a, *b;
	int to;

	b = line_from(&to);
	a = line_new(to);
	assert_int_equal(line_send(a, &sent, &e), 0);
	assert_int_equal(line_read(b, true, &got, &e), LINE_MESSAGE);
	assert_int_equal(got.description.version, LINE_VERSION);
	assert_string_equal(got.description.type, "swindow");
	assert_true(got.description.bounded && about->whole_file && !about->cannot_replay);
	assert_int_equal(about->spread, STAGE_KEYED);
	assert_int_equal(about->epoch_max_us, 600000000);
	assert_int_equal(about->keys_len[0], 2);
	assert_string_equal(about->keys[1][0], "c");
	assert_null(about->inputs[0]);
	assert_string_equal(about->inputs[1], "x.csv");
	assert_string_equal(about->sides[0].format, "csv");
	assert_null(about->sides[1].path);
	line_free(a);
	line_free(b);

	b = line_from(&to);
	assert_int_equal(write(to, text, sizeof text - 1), sizeof text - 1);
	assert_int_equal(line_read(b, true, &got, &e), LINE_MESSAGE);
	assert_string_equal(got.description.type, "x");
	assert_string_equal(about->keys[0][0], "a");
	assert_int_equal(got.description.inputs, 0);
	assert_null(about->name);
	close(to);
	line_free(b);
}

static void an_ack_may_leave_the_hash_open(void **state)
{
	struct line_message ack = {.kind = LINE_ACK, .number = 7, .text = "a", .hash_unknown = true}, got;
	struct error e = ERROR_INIT;
	struct line *a, *b;
	int to;

	b = line_from(&to);
	a = line_new(to);
	assert_int_equal(line_send(a, &ack, &e), 0);
	assert_int_equal(line_read(b, true, &got, &e), LINE_MESSAGE);
	assert_true(got.hash_unknown && got.handle_len == 0);
	line_free(a);
	line_free(b);
}

static void rubbish_on_the_line_is_an_error(void **state)
{
	static const uint8_t texts[][10] = {"hello you", {0xc9, 0xff, 0xff, 0xff, 0xff, 0x21},
		{0xc9, 0, 0, 0, 1, 0x21, 0xc0}, {0xc9, 0, 0, 0, 1, 0x7f, 0x90}, {0xd4, 0x36, 0x01},
		{0xc7, 2, 0x36, 0x81, 0xa1}, {0xd5, 0x35, 0x91, 0x01}};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct error e = ERROR_INIT;
		struct line_message got;
		struct line *b;
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_int_equal(write(fds[0], texts[i], sizeof texts[i]), sizeof texts[i]);
		b = line_new(fds[1]);
		assert_int_equal(line_read(b, true, &got, &e), LINE_ERROR);
		assert_int_equal(e.code, ERROR_DATA);
		close(fds[0]);
		line_free(b);
	}
}

/* ---- jobs ---- */

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *bytes;

	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*len = (size_t)ftell(f);
	rewind(f);
	bytes = mem_alloc(*len + 1);
	assert_int_equal(fread(bytes, 1, *len, f), *len);
	bytes[*len] = '\0';
	fclose(f);
	return bytes;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in order of their bytes: what several subtasks wrote has no order of its own. */
static void sort_lines(char *bytes)
{
	char **lines = NULL, *copy = mem_strdup(bytes), *save;
	size_t n = 0, cap = 0, at = 0;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		MEM_GROW(lines, cap, n + 1);
		lines[n++] = line;
	}
	qsort(lines, n, sizeof *lines, by_text);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(lines[i]);

		memcpy(bytes + at, lines[i], len);
		at += len;
		bytes[at++] = '\n';
	}
	mem_free(lines);
	mem_free(copy);
}

#define EVENTS "nexmark:bid?events=1000000&disorder=2s&bid_bytes=1"

static struct job_stage windowed[] = {
	{.name = "ssource", .argv = {"ssource", EVENTS, "-t", "dateTime", "-d", "2s"}, .subtasks = 1},
	{.name = "smap", .argv = {"smap", "-w", "price > 1000", "auction, price, dateTime"},
		.key = "auction", .subtasks = 1},
	{.name = "swindow", .argv = {"swindow", "--hop", "2s,1s", "-k", "auction",
		"count(*) as n, sum(price) as total, max(price) as top"}, .subtasks = 1},
	{.name = "ssink", .argv = {"ssink", "-f", "csv", output}, .subtasks = 1},
};

static char *undisturbed(struct job *j, size_t *len)
{
	char *bytes;

	job_start(j, NULL);
	job_finish(j, 1);
	bytes = read_file(output, len);
	assert_non_null(bytes);
	assert_true(*len > 1000);
	unlink(output);
	return bytes;
}

static void compare(const char *wanted, bool sorted)
{
	size_t len;
	char *got = read_file(output, &len);

	assert_non_null(got);
	if (sorted)
		sort_lines(got);
	assert_string_equal(got, wanted);
	mem_free(got);
	unlink(output);
}

static void killed_and_restored_the_output_is_the_same_to_the_byte(void **state)
{
	struct job j = {.stages = windowed, .stages_len = 4, .snapshots = directory};
	struct job_checkpoint last = {.id = 0};
	uint64_t id = 100;
	char *wanted;
	size_t len;

	windowed[2].subtasks = 1;
	wanted = undisturbed(&j, &len);
	job_start(&j, NULL);
	for (int attempt = 0; attempt < 4; attempt++) {
		bool running = job_checkpoint(&j, ++id, BARRIER_CHECKPOINT, &last);

		assert_int_equal(access(output, F_OK), -1); /* not before it is complete */
		if (running)
			running = job_checkpoint(&j, ++id, BARRIER_CHECKPOINT, &last);
		job_kill(&j);
		job_start(&j, last.id ? &last : NULL);
	}
	job_finish(&j, ++id);
	assert_true(last.id > 0);
	compare(wanted, false);
	mem_free(wanted);
	job_checkpoint_clear(&last);
}

/* Written by two subtasks, restored by three, then by one. */
static void state_is_split_over_other_key_groups(void **state)
{
	struct job j = {.stages = windowed, .stages_len = 4, .snapshots = directory};
	struct job_checkpoint last = {.id = 0};
	uint64_t id = 200;
	char *wanted;
	size_t len;

	windowed[2].subtasks = 1;
	wanted = undisturbed(&j, &len);
	sort_lines(wanted);
	for (uint32_t subtasks = 2, turn = 0; turn < 3; turn++) {
		static const uint32_t next[] = {3, 1, 2};

		windowed[2].subtasks = subtasks;
		job_start(&j, last.id ? &last : NULL);
		job_checkpoint(&j, ++id, BARRIER_CHECKPOINT, &last);
		job_kill(&j);
		subtasks = next[turn];
	}
	windowed[2].subtasks = 2;
	job_start(&j, last.id ? &last : NULL);
	job_finish(&j, ++id);
	assert_true(last.id > 0);
	compare(wanted, true);
	mem_free(wanted);
	job_checkpoint_clear(&last);
	windowed[2].subtasks = 1;
}

/* No row is lost, none comes twice, none is late. */
static void a_source_is_divided_among_other_subtasks(void **state)
{
	struct job j = {.stages = windowed, .stages_len = 4, .snapshots = directory};
	struct job_checkpoint last = {.id = 0};
	static const uint32_t subtasks[] = {3, 2, 4, 1};
	uint64_t id = 500;
	char *wanted;
	size_t len;

	wanted = undisturbed(&j, &len);
	sort_lines(wanted);
	for (size_t turn = 0; turn < sizeof subtasks / sizeof *subtasks; turn++) {
		windowed[0].subtasks = subtasks[turn];
		job_start(&j, last.id ? &last : NULL);
		job_checkpoint(&j, ++id, BARRIER_CHECKPOINT, &last);
		job_kill(&j);
	}
	windowed[0].subtasks = 2;
	job_start(&j, last.id ? &last : NULL);
	job_finish(&j, ++id);
	assert_true(last.id > 0);
	compare(wanted, true);
	mem_free(wanted);
	job_checkpoint_clear(&last);
	windowed[0].subtasks = 1;
}

static void a_supervisor_that_goes_takes_its_stages_along(void **state)
{
	struct job j = {.stages = windowed, .stages_len = 4, .snapshots = directory};
	struct job_checkpoint c = {.id = 0};

	job_start(&j, NULL);
	job_checkpoint(&j, 300, BARRIER_CHECKPOINT, &c);
	for (size_t s = 0; s < 4; s++) {
		struct job_process *x = &j.processes[s][0];
		int fd = dup(line_fd(x->line));

		shutdown(fd, SHUT_RDWR); /* as the kernel does when a supervisor dies */
		close(fd);
		x->gone = true;
		waitpid(x->pid, &x->status, 0);
	}
	assert_int_equal(access(output, F_OK), -1);
	job_kill(&j);
	job_checkpoint_clear(&c);
}

static void damaged_state_is_refused_with_status_4(void **state)
{
	struct job j = {.stages = windowed, .stages_len = 4, .snapshots = directory};
	struct job_checkpoint last = {.id = 0};
	struct job_process *window = &j.processes[2][0];
	int status;

	job_start(&j, NULL);
	if (!job_checkpoint(&j, 400, BARRIER_CHECKPOINT, &last))
		fail_msg("the job was over before its first checkpoint");
	job_kill(&j);
	assert_int_equal(truncate(last.paths[2][0], 200), 0);
	job_start(&j, &last);
	waitpid(window->pid, &status, 0);
	window->gone = true;
	assert_int_equal(WEXITSTATUS(status), ERROR_STATE);
	job_kill(&j);
	job_checkpoint_clear(&last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_arrive_as_they_were_sent),
		cmocka_unit_test(a_description_keeps_what_it_says_and_defaults_what_it_doesnt),
		cmocka_unit_test(an_ack_may_leave_the_hash_open),
		cmocka_unit_test(rubbish_on_the_line_is_an_error),
		cmocka_unit_test_setup_teardown(killed_and_restored_the_output_is_the_same_to_the_byte,
			make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(state_is_split_over_other_key_groups,
			make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(a_source_is_divided_among_other_subtasks,
			make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(a_supervisor_that_goes_takes_its_stages_along,
			make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(damaged_state_is_refused_with_status_4,
			make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
