/* Kept epochs against a model of a few lines: who sent what, which is the newest of each, which files are
 * still here and what they hold; also after the process died at any moment. */
#include "connect/epochs.h"
#include "libcore/base/msgpack.h"
#include "libcore/frame/channel.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SENDERS = 5, STEPS = 1500, FILES_MAX = STEPS + 1, BYTES_MAX = 64 << 20 };

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static char place[64], directory[80];

static void shell(const char *command, const char *a, const char *b)
{
	char line[256];

	snprintf(line, sizeof line, "%s '%s' %s", command, a, b);
	assert_int_equal(system(line), 0);
}

static int make_directory(void **state)
{
	snprintf(place, sizeof place, "/tmp/runnel-epochs-XXXXXX");
	if (!mkdtemp(place))
		return -1;
	snprintf(directory, sizeof directory, "%s/kept", place);
	return 0;
}

static int remove_directory(void **state)
{
	shell("rm -rf", place, "");
	return 0;
}

/* ---- the model ---- */

struct model_file {
	struct epoch_note note;
	uint64_t rows; /* watermarks, here: each of a value of its own */
};

struct model {
	struct epochs *epochs;
	struct epoch_note senders[SENDERS]; /* number: the newest that is kept */
	struct epoch_receipt *open[SENDERS];
	uint64_t open_number[SENDERS], open_rows[SENDERS];
	struct model_file files[FILES_MAX]; /* by number, from 1 */
	uint64_t first, next;
};

static void must_open(struct model *m)
{
	struct error e = ERROR_INIT;

	if (epochs_open(directory, BYTES_MAX, &m->epochs, &e) < 0)
		fail_msg("%s", e.text);
}

static void init(struct model *m)
{
	memset(m, 0, sizeof *m);
	m->first = m->next = 1;
	for (int i = 0; i < SENDERS; i++) {
		struct epoch_note *n = &m->senders[i];

		memset(n->job, i < 3 ? 'a' : 'b', EPOCH_JOB_BYTES - 1);
		snprintf(n->stage, sizeof n->stage, "%s", i % 2 ? "../some where/else" : "ssink");
		n->subtask = (uint64_t)i;
	}
	must_open(m);
}

static void begin(struct model *m, size_t i)
{
	struct epoch_note n = m->senders[i];
	struct error e = ERROR_INIT;

	/* Checkpoints are numbered with gaps; one that is here already may come once more. */
	n.number = n.number && random_below(5) == 0 ? n.number : n.number + 1 + random_below(3);
	m->open_number[i] = n.number;
	m->open_rows[i] = 0;
	assert_int_equal(epochs_begin(m->epochs, &n, &m->open[i], &e), 0);
}

static void put(struct model *m, size_t i)
{
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;

	for (uint64_t n = random_below(40000); n; n--)
		frame_put_watermark(&b, (int64_t)++m->open_rows[i]);
	assert_int_equal(epochs_put_bytes(m->open[i], &b, &e), 0);
	buf_clear(&b);
}

static void complete(struct model *m, size_t i)
{
	struct error e = ERROR_INIT;

	assert_int_equal(epochs_complete(m->open[i], m->open_rows[i], &e), 0);
	m->open[i] = NULL;
	if (m->open_number[i] <= m->senders[i].number)
		return;
	m->senders[i].number = m->open_number[i];
	m->files[m->next++] = (struct model_file){m->senders[i], m->open_rows[i]};
}

static void drop(struct model *m, size_t i)
{
	epochs_drop(m->open[i]);
	m->open[i] = NULL;
}

static void remove_some(struct model *m)
{
	uint64_t before = m->first + random_below(m->next - m->first + 1);
	struct error e = ERROR_INIT;

	assert_int_equal(epochs_remove_before(m->epochs, before, &e), 0);
	m->first = before;
}

/* Closed, or as kill -9 would leave it: what was on disk while all was open. */
static void start_again(struct model *m)
{
	char copy[96];

	snprintf(copy, sizeof copy, "%s.copy", directory);
	if (random_below(2)) {
		shell("cp -a", directory, copy);
		epochs_close(m->epochs);
		shell("rm -rf", directory, "");
		assert_int_equal(rename(copy, directory), 0);
	} else {
		epochs_close(m->epochs);
	}
	memset(m->open, 0, sizeof m->open);
	must_open(m);
}

/* ---- what must hold ---- */

static void check_file(const struct model *m, uint64_t number)
{
	const struct model_file *want = &m->files[number];
	const char *path = epochs_path(m->epochs, number);
	struct epoch_note found[2] = {{.number = 0}};
	uint64_t rows = 0, ended = UINT64_MAX, notes = 0;
	struct channel_reader *r;
	struct error e = ERROR_INIT;
	enum channel_status status;
	struct frame f;
	int fd;

	if (!path)
		fail_msg("file %llu isn't here", (unsigned long long)number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	r = channel_reader_new(fd, path);
	while ((status = channel_read(r, true, &f, &e)) == CHANNEL_FRAME) {
		int64_t us = 0;

		if (f.kind == FRAME_EPOCH && notes < 2)
			assert_int_equal(frame_read_epoch(&f, &found[notes++], &e), 0);
		if (f.kind == FRAME_WATERMARK && frame_read_int(&f, &us, &e) == 0)
			assert_int_equal(us, ++rows);
		if (f.kind == FRAME_END)
			assert_int_equal(frame_read_end(&f, &ended, &e), 0);
	}
	assert_int_equal(status, CHANNEL_EOF);
	channel_reader_free(r);
	close(fd);
	assert_int_equal(notes, 2);
	assert_int_equal(rows, want->rows);
	assert_int_equal(ended, want->rows);
	assert_string_equal(found[0].stage, want->note.stage);
	assert_int_equal(found[0].subtask, want->note.subtask);
	assert_int_equal(found[1].number, want->note.number);
	assert_int_equal(found[1].count, want->rows);
}

static void check(const struct model *m)
{
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(epochs_have(m->epochs, &m->senders[i]), m->senders[i].number);
	assert_int_equal(epochs_next(m->epochs), m->next);
	assert_int_equal(epochs_first(m->epochs), m->first);
	if (m->first > 1)
		assert_null(epochs_path(m->epochs, m->first - 1));
	if (m->first < m->next)
		check_file(m, m->first + random_below(m->next - m->first));
}

static void what_is_complete_is_there_once_whatever_happens(void **state)
{
	struct model m;

	random_state = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15 | 1;
	print_message("seed %#llx\n", (unsigned long long)random_state);
	init(&m);
	for (int step = 0; step < STEPS; step++) {
		size_t i = random_below(SENDERS);

		switch (random_below(12)) {
		case 0: remove_some(&m); break;
		case 1: start_again(&m); break;
		case 2:
			if (m.open[i])
				drop(&m, i);
			break;
		case 3:
		case 4:
		case 5:
		case 6:
			if (m.open[i])
				complete(&m, i);
			break;
		default:
			if (m.open[i])
				put(&m, i);
			else
				begin(&m, i);
			break;
		}
		check(&m);
	}
	start_again(&m);
	check(&m);
	epochs_close(m.epochs);
}

/* ---- what a stranger may say ---- */

static void names_that_a_line_could_not_hold_are_refused(void **state)
{
	static const struct {
		const char *job, *stage;
		bool good;
	} cases[] = {
		{"0123456789abcdef0123456789abcdef", "ssink", true},
		{"0123456789abcdef0123456789abcdef", "../../etc/p\xc3\xa4th", true}, /* no name is one of a file */
		{"0123456789abcdef0123456789abcdef", "a\nnext 7", false},
		{"0123456789abcdef0123456789abcdef", "", false},
		{"0123456789ABCDEF0123456789abcdef", "ssink", false},
		{"0123456789abcdef 123456789abcdef", "ssink", false},
		{"0123456789abcdef\n123456789abcdef", "ssink", false},
		{"0123456789abcdef", "ssink", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct epoch_note n = {.verb = EPOCH_BEGIN, .number = 1}, got;
		struct msgpack_ext head;
		struct error e = ERROR_INIT;
		struct buf b = BUF_INIT;
		struct frame f;

		snprintf(n.job, sizeof n.job, "%s", cases[i].job);
		snprintf(n.stage, sizeof n.stage, "%s", cases[i].stage);
		frame_put_epoch(&b, &n);
		assert_int_equal(msgpack_ext_head(b.data, b.len, &head), 0);
		f = (struct frame){head.type, b.data + head.head_bytes, head.body_bytes};
		assert_int_equal(frame_read_epoch(&f, &got, &e), cases[i].good ? 0 : -1);
		error_clear(&e);
		buf_clear(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_complete_is_there_once_whatever_happens, make_directory,
			remove_directory),
		cmocka_unit_test(names_that_a_line_could_not_hold_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
