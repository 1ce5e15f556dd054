/* The spool against a model of a few lines: what was appended is there, in order, and held is what
 * was not given back; also after a close, a file cut short, bytes nobody asked for. */
#include "connect/spool.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	FILES_MAX = 12,
	STEPS = 400,
	APPEND_BYTES_MAX = 900000,
	BYTES_MAX = 24 << 20,
	BLOCK_BYTES = 4096,
};

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static char directory[64];

static int make_directory(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/runnel-spool-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", directory);
	return system(command);
}

static struct spool *must_open(uint64_t bytes_max)
{
	struct error e = ERROR_INIT;
	struct spool *s;

	assert_int_equal(spool_open(directory, bytes_max, &s, &e), 0);
	return s;
}

static void a_directory_that_another_spools_to_is_refused(void **state)
{
	struct error e = ERROR_INIT;
	struct spool *s = must_open(100), *other;

	assert_int_equal(spool_open(directory, 100, &other, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "another process spools there"));
	spool_close(s);
	spool_close(must_open(100));
}

static void a_directory_that_cannot_be_made_is_an_error(void **state)
{
	struct error e = ERROR_INIT;
	struct spool *s;

	assert_int_equal(spool_open("/proc/none/such", 100, &s, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
}

static void a_peer_cannot_choose_where_its_file_lies(void **state)
{
	static const char *const peers[] = {"../../etc/passwd", "a/b", "", "\n", "x;rm -rf /",
		"0123456789012345678901234567890123456789012345678901234567890123456789"
		"01234567890123456789012345678901234567890123456789012345678901234567890"};
	struct error e = ERROR_INIT;
	struct spool *s = must_open(100);
	size_t len = strlen(directory);

	for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
		struct spool_file *f;

		assert_int_equal(spool_begin(s, peers[i], &f, &e), 0);
		assert_memory_equal(spool_path(f), directory, len);
		assert_null(strchr(spool_path(f) + len + 1, '/'));
		spool_end(f);
	}
	spool_close(s);
}

static void room_ends_with_the_allowed_bytes_and_comes_back_with_what_is_removed(void **state)
{
	struct error e = ERROR_INIT;
	struct spool *s = must_open(10);
	struct spool_file *f;
	char *path;

	assert_int_equal(spool_begin(s, "a", &f, &e), 0);
	assert_int_equal(spool_append(f, "123456789", 9, &e), 0);
	assert_true(spool_has_room(s));
	assert_int_equal(spool_append(f, "0", 1, &e), 0);
	assert_false(spool_has_room(s));
	path = mem_strdup(spool_path(f));
	spool_close(s);
	s = must_open(10);
	assert_false(spool_has_room(s));
	assert_string_equal(spool_left(s, 0), path);
	assert_null(spool_left(s, 1));
	assert_int_equal(spool_remove(s, path, &e), 0);
	assert_int_equal(spool_remove(s, path, &e), 0);
	assert_true(spool_has_room(s));
	spool_close(s);
	mem_free(path);
}

static void what_is_no_file_of_the_spool_is_left_alone(void **state)
{
	char path[128];
	struct spool *s;

	snprintf(path, sizeof path, "%s/notes", directory);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof path, "%s/000000000003-dir", directory);
	assert_int_equal(mkdir(path, 0700), 0);
	s = must_open(100);
	assert_null(spool_left(s, 0));
	assert_true(spool_has_room(s));
	spool_close(s);
}

static void what_was_given_back_before_a_restart_is_not_given_back_again(void **state)
{
	enum { BYTES = 10 << 20, ALLOWED = 1 << 20 };
	uint8_t *bytes = mem_zero(BYTES);
	struct error e = ERROR_INIT;
	struct spool *s = must_open(ALLOWED);
	struct spool_file *f;
	char *path;

	memset(bytes, 'x', BYTES);
	assert_int_equal(spool_begin(s, "a", &f, &e), 0);
	assert_int_equal(spool_append(f, bytes, BYTES, &e), 0);
	assert_int_equal(spool_sync(s, &e), 0);
	path = mem_strdup(spool_path(f));
	spool_trim(s, path, 7 << 20);
	spool_close(s);
	s = must_open(ALLOWED);
	/* 2 MiB are left. */
	spool_trim(s, path, 8 << 20);
	assert_false(spool_has_room(s));
	spool_trim(s, path, BYTES);
	assert_true(spool_has_room(s));
	spool_close(s);
	mem_free(path);
	mem_free(bytes);
}

/* ---- a model ---- */

struct modelled {
	char *path;
	struct spool_file *file; /* NULL: ended */
	struct buf bytes;
	uint64_t behind; /* what is before it may be gone */
};

struct model {
	struct spool *s;
	struct modelled files[FILES_MAX];
	size_t len;
};

static void forget(struct model *m, size_t i)
{
	mem_free(m->files[i].path);
	buf_clear(&m->files[i].bytes);
	memmove(&m->files[i], &m->files[i + 1], (m->len - i - 1) * sizeof *m->files);
	m->len--;
}

static void begin(struct model *m)
{
	struct error e = ERROR_INIT;
	struct modelled *f = &m->files[m->len];

	if (m->len == FILES_MAX)
		return;
	*f = (struct modelled){.path = NULL};
	assert_int_equal(spool_begin(m->s, "127.0.0.1:5100", &f->file, &e), 0);
	f->path = mem_strdup(spool_path(f->file));
	m->len++;
}

static void append(struct modelled *f)
{
	struct error e = ERROR_INIT;
	size_t len = (size_t)random_below(random_below(4) ? 5000 : APPEND_BYTES_MAX);
	uint8_t *at;

	if (!f->file)
		return;
	at = buf_reserve(&f->bytes, len + 1);
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(f->bytes.len + i + (f->bytes.len + i) / 251);
	assert_int_equal(spool_append(f->file, at, len, &e), 0);
	f->bytes.len += len;
}

/* Whole, but for what was given back, and there all but the blocks around it. */
static void check_file(const struct modelled *f)
{
	uint8_t *have = mem_alloc(f->bytes.len + 1);
	int fd = open(f->path, O_RDONLY);
	struct stat st;
	size_t at = 0;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, f->bytes.len);
	while (at < f->bytes.len) {
		ssize_t n = read(fd, have + at, f->bytes.len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	close(fd);
	for (size_t i = 0; i < f->bytes.len; i++) {
		bool may_be_gone = i >= SPOOL_HEAD_BYTES && i < f->behind;

		if (have[i] != f->bytes.data[i] && !(may_be_gone && have[i] == 0))
			fail_msg("%s: byte %zu of %zu, %llu are behind the reader", f->path, i,
				f->bytes.len, (unsigned long long)f->behind);
	}
	mem_free(have);
}

static uint64_t bytes_needed(const struct model *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->len; i++)
		sum += m->files[i].bytes.len - m->files[i].behind;
	return sum;
}

/* Never more room than the bytes that are still needed leave; and not much less, which is what a
 * restart doesn't know of: the last hole, blocks, and the head of each file. */
static void check_room(const struct model *m)
{
	uint64_t needed = bytes_needed(m), slack = 0;

	for (size_t i = 0; i < m->len; i++)
		slack += m->files[i].behind < (2 << 20) ? m->files[i].behind : (2 << 20);
	if (needed >= BYTES_MAX)
		assert_false(spool_has_room(m->s));
	if (needed + slack + (uint64_t)BLOCK_BYTES * 32 * m->len < BYTES_MAX)
		assert_true(spool_has_room(m->s));
}

static void trim(struct model *m, struct modelled *f)
{
	uint64_t to = f->bytes.len ? random_below(f->bytes.len + 1) : 0;

	/* Again, and to what lies before: nothing more happens. */
	f->behind = to > f->behind ? to : f->behind;
	spool_trim(m->s, f->path, f->behind);
	spool_trim(m->s, f->path, to);
	spool_trim(m->s, "/no/such/file", to);
}

static void reopen(struct model *m)
{
	struct error e = ERROR_INIT;

	if (random_below(2))
		assert_int_equal(spool_sync(m->s, &e), 0);
	spool_close(m->s);
	for (size_t i = 0; i < m->len; i++) {
		struct modelled *f = &m->files[i];

		f->file = NULL;
		/* The machine went down: the end of what wasn't synced is gone. */
		if (!random_below(4) && f->bytes.len > f->behind) {
			f->bytes.len -= random_below(f->bytes.len - f->behind + 1);
			assert_int_equal(truncate(f->path, (off_t)f->bytes.len), 0);
		}
	}
	m->s = must_open(BYTES_MAX);
	for (size_t i = 0; i < m->len; i++) {
		assert_non_null(spool_left(m->s, i));
		assert_string_equal(spool_left(m->s, i), m->files[i].path);
	}
	assert_null(spool_left(m->s, m->len));
}

static void step(struct model *m)
{
	struct error e = ERROR_INIT;
	size_t i = m->len ? (size_t)random_below(m->len) : 0;
	uint64_t choice = m->len ? random_below(20) : 0;

	if (choice == 0) {
		begin(m);
	} else if (choice < 11) {
		if (spool_has_room(m->s))
			append(&m->files[i]);
	} else if (choice < 14) {
		trim(m, &m->files[i]);
	} else if (choice < 16) {
		assert_int_equal(spool_sync(m->s, &e), 0);
	} else if (choice == 16 && m->files[i].file) {
		spool_end(m->files[i].file);
		m->files[i].file = NULL;
	} else if (choice == 17 && !m->files[i].file) {
		assert_int_equal(spool_remove(m->s, m->files[i].path, &e), 0);
		assert_int_equal(access(m->files[i].path, F_OK), -1);
		forget(m, i);
	} else if (choice == 18) {
		reopen(m);
	}
}

static void random_steps_leave_what_a_model_has(void **state)
{
	struct model m = {.s = must_open(BYTES_MAX)};
	uint64_t seed = (uint64_t)time(NULL) * 7919 + 1;

	print_message("seed %llu\n", (unsigned long long)seed);
	random_state = seed;
	for (int i = 0; i < STEPS; i++) {
		step(&m);
		check_room(&m);
		if (i % 16 == 0) {
			for (size_t k = 0; k < m.len; k++)
				check_file(&m.files[k]);
		}
	}
	for (size_t k = 0; k < m.len; k++)
		check_file(&m.files[k]);
	while (m.len)
		forget(&m, 0);
	spool_close(m.s);
}

static void a_number_is_not_given_twice_while_its_file_is_there(void **state)
{
	struct error e = ERROR_INIT;
	struct spool *s = must_open(100);
	struct spool_file *f;
	char *first;

	assert_int_equal(spool_begin(s, "a", &f, &e), 0);
	first = mem_strdup(spool_path(f));
	spool_close(s);
	s = must_open(100);
	assert_int_equal(spool_begin(s, "a", &f, &e), 0);
	assert_string_not_equal(spool_path(f), first);
	assert_true(strcmp(spool_path(f), first) > 0);
	spool_close(s);
	mem_free(first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_directory_that_another_spools_to_is_refused),
		TEST(a_directory_that_cannot_be_made_is_an_error),
		TEST(a_peer_cannot_choose_where_its_file_lies),
		TEST(room_ends_with_the_allowed_bytes_and_comes_back_with_what_is_removed),
		TEST(what_is_no_file_of_the_spool_is_left_alone),
		TEST(a_number_is_not_given_twice_while_its_file_is_there),
		TEST(what_was_given_back_before_a_restart_is_not_given_back_again),
		TEST(random_steps_leave_what_a_model_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
