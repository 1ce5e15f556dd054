/* Savepoints: what is written is read back, and nothing else is. */
#include "cmd/runnel/savepoint.h"

#include "libcore/base/memory.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

enum { LARGE_BYTES = 3 << 20, SMALL_BYTES = 1000 };

static char directory[] = "/tmp/savepoint_test.XXXXXX";
static char archive_path[64], target[64], source[64];
static uint8_t *noise;

static int make_directory(void **state)
{
	uint64_t x = 88172645463325252;

	assert_non_null(mkdtemp(directory));
	snprintf(archive_path, sizeof archive_path, "%s/a.savepoint", directory);
	snprintf(target, sizeof target, "%s/target", directory);
	snprintf(source, sizeof source, "%s/source", directory);
	assert_int_equal(mkdir(target, 0700), 0);
	noise = mem_alloc(LARGE_BYTES);
	for (size_t i = 0; i < LARGE_BYTES; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (uint8_t)x;
	}
	return 0;
}

static int remove_directory(void **state)
{
	unlink(archive_path);
	unlink(source);
	mem_free(noise);
	return rmdir(target) | rmdir(directory);
}

static uint8_t *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "r");
	struct stat st;
	uint8_t *bytes;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*len = (size_t)st.st_size;
	bytes = mem_alloc(*len + 1);
	assert_int_equal(fread(bytes, 1, *len, f), *len);
	fclose(f);
	return bytes;
}

static void spit(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* The names in a directory; empties it on the way if asked. */
static int count_names(const char *path, bool empty)
{
	DIR *d = opendir(path);
	const struct dirent *entry;
	int n = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		n++;
		if (empty)
			assert_int_equal(unlinkat(dirfd(d), entry->d_name, 0), 0);
	}
	closedir(d);
	return n;
}

static void assert_unpacked(const char *name, const void *want, size_t len)
{
	char path[512];
	struct stat st;
	uint8_t *got;
	size_t got_len;

	snprintf(path, sizeof path, "%s/%s", target, name);
	got = slurp(path, &got_len);
	assert_int_equal(got_len, len);
	if (len)
		assert_memory_equal(got, want, len);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	mem_free(got);
}

/* It is refused, with words that hold `why` and the archive's path; and nothing stays. */
static void assert_refused(const char *why)
{
	struct error e = ERROR_INIT;

	assert_int_equal(savepoint_read(archive_path, target, &e), -1);
	if (e.code != ERROR_STATE || !strstr(e.text, why) || !strstr(e.text, archive_path))
		fail_msg("not \"%s\" but %d: %s", why, e.code, e.text);
	assert_int_equal(count_names(target, false), 0);
}

/* ---- archives of others ---- */

struct entry {
	const char *name;
	unsigned type;
	const char *link; /* where a link goes to */
	bool is_hard;
};

static void put_entry(struct archive *a, const struct entry *given)
{
	struct archive_entry *entry = archive_entry_new();
	bool has_bytes = given->type == AE_IFREG && !given->is_hard;

	archive_entry_set_pathname(entry, given->name);
	archive_entry_set_filetype(entry, given->type);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, has_bytes ? 3 : 0);
	if (given->link && given->is_hard)
		archive_entry_set_hardlink(entry, given->link);
	else if (given->link)
		archive_entry_set_symlink(entry, given->link);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	if (has_bytes)
		assert_int_equal(archive_write_data(a, "abc", 3), 3);
	archive_entry_free(entry);
}

static void put_archive(
	int (*format)(struct archive *), int filter, const struct entry *entries, size_t len)
{
	struct archive *a = archive_write_new();

	assert_int_equal(format(a), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, archive_path), ARCHIVE_OK);
	for (size_t i = 0; i < len; i++)
		put_entry(a, &entries[i]);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
}

static void what_could_leave_the_directory_is_refused(void **state)
{
	static const struct {
		struct entry entry;
		const char *why;
	} cases[] = {
		{{"/tmp/x", AE_IFREG, NULL, false}, "no directories"},
		{{"../x", AE_IFREG, NULL, false}, "no directories"},
		{{"a/../../x", AE_IFREG, NULL, false}, "no directories"},
		{{"a/x", AE_IFREG, NULL, false}, "no directories"},
		{{"./x", AE_IFREG, NULL, false}, "no directories"},
		{{"..", AE_IFREG, NULL, false}, "no directories"},
		{{".", AE_IFREG, NULL, false}, "no directories"},
		{{"d", AE_IFDIR, NULL, false}, "no directories"},
		{{"x", AE_IFLNK, "/etc/passwd", false}, "plain files only"},
		{{"x", AE_IFREG, "good", true}, "plain files only"},
		{{"x", AE_IFIFO, NULL, false}, "plain files only"},
		{{"x", AE_IFCHR, NULL, false}, "plain files only"},
		{{"x", AE_IFBLK, NULL, false}, "plain files only"},
		{{"good", AE_IFREG, NULL, false}, "\"good\" is in it twice"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct entry entries[] = {{"good", AE_IFREG, NULL, false}, cases[i].entry};

		put_archive(archive_write_set_format_pax, ARCHIVE_FILTER_ZSTD, entries, 2);
		assert_refused(cases[i].why);
		put_archive(archive_write_set_format_gnutar, ARCHIVE_FILTER_ZSTD, &entries[1], 1);
		if (strcmp(entries[1].name, "good") != 0)
			assert_refused(cases[i].why);
	}
}

static void a_sparse_file_is_refused(void **state)
{
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	assert_int_equal(archive_write_set_format_pax(a), ARCHIVE_OK);
	assert_int_equal(archive_write_add_filter_zstd(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, archive_path), ARCHIVE_OK);
	archive_entry_set_pathname(entry, "holes");
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, 1 << 20);
	archive_entry_sparse_add_entry(entry, 0, 512);
	archive_entry_sparse_add_entry(entry, (1 << 20) - 512, 512);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	for (size_t i = 0; i < 1 << 20; i += 512)
		assert_int_equal(archive_write_data(a, noise, 512), 512);
	archive_entry_free(entry);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	assert_refused("plain files only");
}

static void what_is_no_archive_is_no_savepoint(void **state)
{
	static const struct entry entry = {"x", AE_IFREG, NULL, false};
	uint8_t packed[4096];
	struct error e = ERROR_INIT;
	size_t len;

	spit(archive_path, "", 0);
	assert_refused("not a savepoint");
	spit(archive_path, "hi\n", 3);
	assert_refused("savepoint");
	spit(archive_path, noise, 100000);
	assert_refused("not a savepoint");
	put_archive(archive_write_set_format_pax, ARCHIVE_FILTER_NONE, &entry, 1);
	assert_refused("not a savepoint");
	put_archive(archive_write_set_format_zip, ARCHIVE_FILTER_NONE, &entry, 1);
	assert_refused("not a savepoint");
	put_archive(archive_write_set_format_cpio, ARCHIVE_FILTER_ZSTD, &entry, 1);
	assert_refused("savepoint");
	len = ZSTD_compress(packed, sizeof packed, noise, SMALL_BYTES, 1);
	spit(archive_path, packed, len);
	assert_refused("not a savepoint");
	len = ZSTD_compress(packed, sizeof packed, "", 0, 1);
	spit(archive_path, packed, len);
	assert_refused("savepoint");
	unlink(archive_path);
	assert_int_equal(savepoint_read(archive_path, target, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, archive_path));
	assert_int_equal(savepoint_read(directory, target, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
}

/* ---- our own ---- */

static void put_savepoint(const struct savepoint_file *files, size_t len)
{
	struct error e = ERROR_INIT;

	if (savepoint_write(archive_path, files, len, &e) < 0)
		fail_msg("%s", e.text);
}

static void files_of_every_size_come_back(void **state)
{
	static const size_t sizes[] = {0, 1, 511, 512, 513, 10240, (128 << 10) - 1, 128 << 10,
		(128 << 10) + 1, 1 << 20, LARGE_BYTES};
	enum { FILES = sizeof sizes / sizeof *sizes };
	static const uint8_t zeros[20480];
	struct savepoint_file files[FILES + 1];
	char names[FILES][16];
	struct error e = ERROR_INIT;
	struct stat st;

	for (size_t i = 0; i < FILES; i++) {
		snprintf(names[i], sizeof names[i], "f%zu", i);
		files[i] = (struct savepoint_file){
			.name = names[i], .bytes = noise, .len = sizes[i]};
	}
	/* One that lies in a file, and one of zeros, which are not taken for tar's end. */
	spit(source, noise, LARGE_BYTES);
	files[FILES - 1] = (struct savepoint_file){.name = names[FILES - 1], .path = source};
	files[FILES] = (struct savepoint_file){
		.name = "zeros", .bytes = zeros, .len = sizeof zeros};
	put_savepoint(files, FILES + 1);
	assert_int_equal(stat(archive_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	if (savepoint_read(archive_path, target, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < FILES; i++)
		assert_unpacked(names[i], noise, sizes[i]);
	assert_unpacked("zeros", zeros, sizeof zeros);
	assert_int_equal(count_names(target, true), FILES + 1);
}

static void names_are_bytes_and_may_be_long(void **state)
{
	char long_name[256];
	struct savepoint_file files[] = {
		{.name = "pr\xc3\xbc"
			 "fung \xe6\x97\xa5.state",
			.bytes = "a",
			.len = 1},
		{.name = "not utf-8 \xff", .bytes = "b", .len = 1},
		{.name = "-rf", .bytes = "c", .len = 1},
		{.name = "...", .bytes = "d", .len = 1},
		{.name = long_name, .bytes = "e", .len = 1},
	};
	struct error e = ERROR_INIT;

	memset(long_name, 'x', 255);
	long_name[255] = 0;
	put_savepoint(files, 5);
	if (savepoint_read(archive_path, target, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < 5; i++)
		assert_unpacked(files[i].name, files[i].bytes, files[i].len);
	assert_int_equal(count_names(target, true), 5);
}

static void the_same_state_gives_the_same_bytes(void **state)
{
	struct savepoint_file files[] = {
		{.name = "manifest.json", .bytes = "{}", .len = 2}, {.name = "s", .path = source}};
	size_t first_len, second_len;
	uint8_t *first, *second;

	spit(source, noise, 300000);
	put_savepoint(files, 2);
	first = slurp(archive_path, &first_len);
	assert_int_equal(utimensat(AT_FDCWD, source, (struct timespec[]){{1, 0}, {1, 0}}, 0), 0);
	put_savepoint(files, 2);
	second = slurp(archive_path, &second_len);
	assert_int_equal(first_len, second_len);
	assert_memory_equal(first, second, first_len);
	mem_free(first);
	mem_free(second);
}

static void tar_lists_it_in_order(void **state)
{
	struct savepoint_file files[] = {{.name = "manifest.json", .bytes = "{}", .len = 2},
		{.name = "b", .bytes = noise, .len = 100000}, {.name = "a", .bytes = "", .len = 0}};
	char command[160], text[1024];
	FILE *tar;
	size_t n;

	if (system("tar --version >/dev/null 2>&1 && zstd --version >/dev/null 2>&1") != 0)
		skip();
	put_savepoint(files, 3);
	snprintf(command, sizeof command, "tar --zstd -tf %s 2>&1", archive_path);
	tar = popen(command, "r");
	assert_non_null(tar);
	n = fread(text, 1, sizeof text - 1, tar);
	text[n] = 0;
	assert_string_equal(text, "manifest.json\nb\na\n");
	assert_int_equal(pclose(tar), 0);
}

static void what_tar_packs_is_read(void **state)
{
	static const struct entry entries[] = {
		{"a", AE_IFREG, NULL, false}, {"b", AE_IFREG, NULL, false}};
	struct error e = ERROR_INIT;

	put_archive(archive_write_set_format_gnutar, ARCHIVE_FILTER_ZSTD, entries, 2);
	if (savepoint_read(archive_path, target, &e) < 0)
		fail_msg("%s", e.text);
	assert_unpacked("a", "abc", 3);
	assert_unpacked("b", "abc", 3);
	assert_int_equal(count_names(target, true), 2);
}

/* ---- damage ---- */

static void put_small(void)
{
	struct savepoint_file files[] = {{.name = "manifest.json", .bytes = "{}", .len = 2},
		{.name = "s", .bytes = noise, .len = SMALL_BYTES}};

	put_savepoint(files, 2);
}

static void cut_at_any_byte_it_is_refused(void **state)
{
	size_t len;
	uint8_t *bytes;
	struct savepoint_file large = {.name = "large", .bytes = noise, .len = LARGE_BYTES};

	put_small();
	bytes = slurp(archive_path, &len);
	for (size_t i = 0; i < len; i++) {
		spit(archive_path, bytes, i);
		assert_refused("savepoint");
	}
	mem_free(bytes);

	put_savepoint(&large, 1);
	bytes = slurp(archive_path, &len);
	for (size_t i = 8; i < len; i += len / 29) {
		spit(archive_path, bytes, i);
		assert_refused("ends early");
	}
	spit(archive_path, bytes, len - 1);
	assert_refused("ends early");
	mem_free(bytes);
}

/* The tar archive inside, cut and packed again: zstd finds nothing wrong with it. */
static void a_tar_without_its_end_is_refused(void **state)
{
	static uint8_t tar[64 << 10], packed[64 << 10];
	size_t len, tar_len;
	uint8_t *bytes;

	put_small();
	bytes = slurp(archive_path, &len);
	tar_len = ZSTD_decompress(tar, sizeof tar, bytes, len);
	if (ZSTD_isError(tar_len)) { /* streamed: the size isn't in its header */
		ZSTD_DCtx *z = ZSTD_createDCtx();
		ZSTD_inBuffer in = {bytes, len, 0};
		ZSTD_outBuffer out = {tar, sizeof tar, 0};

		assert_int_equal(ZSTD_decompressStream(z, &out, &in), 0);
		tar_len = out.pos;
		ZSTD_freeDCtx(z);
	}
	mem_free(bytes);
	/* two headers of 512, 2 bytes in 512, 1000 bytes in 1024: then two blocks of zeros */
	for (size_t cut = 0; cut < 2560 + 1024; cut += 64) {
		len = ZSTD_compress(packed, sizeof packed, tar, cut, 1);
		spit(archive_path, packed, len);
		assert_refused("savepoint");
	}
	len = ZSTD_compress(packed, sizeof packed, tar, tar_len, 1);
	spit(archive_path, packed, len);
	{
		struct error e = ERROR_INIT;

		assert_int_equal(savepoint_read(archive_path, target, &e), 0);
		assert_int_equal(count_names(target, true), 2);
	}
	/* something that is no frame behind it */
	memcpy(packed + len, "trailing", 8);
	spit(archive_path, packed, len + 8);
	assert_refused("damaged");
}

/* Few bits of a zstd frame are free (the window's size): then what comes out is what went in. */
static void no_flipped_bit_goes_unseen(void **state)
{
	size_t len, accepted = 0;
	uint8_t *bytes;

	put_small();
	bytes = slurp(archive_path, &len);
	for (size_t i = 0; i < len * 8; i += i < 400 || i + 400 > len * 8 ? 1 : 5) {
		struct error e = ERROR_INIT;

		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		spit(archive_path, bytes, len);
		if (savepoint_read(archive_path, target, &e) == 0) {
			assert_unpacked("manifest.json", "{}", 2);
			assert_unpacked("s", noise, SMALL_BYTES);
			assert_int_equal(count_names(target, true), 2);
			accepted++;
		} else {
			assert_int_equal(e.code, ERROR_STATE);
			assert_int_equal(count_names(target, false), 0);
		}
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_true(accepted < 16);
	mem_free(bytes);
}

/* Behind zstd's checksum: flips within the tar archive itself must not crash either. */
static void a_damaged_tar_never_crashes(void **state)
{
	static uint8_t tar[64 << 10], packed[64 << 10];
	static const struct entry entries[] = {
		{"a", AE_IFREG, NULL, false}, {"b", AE_IFREG, NULL, false}};
	size_t len, raw_len;
	uint8_t *raw;

	put_archive(archive_write_set_format_pax, ARCHIVE_FILTER_NONE, entries, 2);
	raw = slurp(archive_path, &raw_len);
	assert_true(raw_len <= sizeof tar);
	memcpy(tar, raw, raw_len);
	mem_free(raw);
	for (size_t i = 0; i < 3072; i++) {
		struct error e = ERROR_INIT;
		uint8_t flip = (uint8_t)(1 << noise[i] % 8);

		tar[i] ^= flip;
		len = ZSTD_compress(packed, sizeof packed, tar, raw_len, 1);
		spit(archive_path, packed, len);
		if (savepoint_read(archive_path, target, &e) < 0)
			assert_int_equal(count_names(target, false), 0);
		count_names(target, true);
		tar[i] ^= flip;
	}
}

/* ---- a world that fails ---- */

static void limit_files_to(rlim_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_write_that_fails_leaves_what_was_there(void **state)
{
	struct savepoint_file files[] = {{.name = "manifest.json", .bytes = "{}", .len = 2},
		{.name = "s", .bytes = noise, .len = LARGE_BYTES}};
	size_t len;
	uint8_t *bytes;

	signal(SIGXFSZ, SIG_IGN);
	unlink(source);
	spit(archive_path, "older", 5);
	for (rlim_t limit = 0; limit < LARGE_BYTES; limit += 500000) {
		struct error e = ERROR_INIT;
		int status;

		limit_files_to(limit);
		status = savepoint_write(archive_path, files, 2, &e);
		limit_files_to(RLIM_INFINITY);
		assert_int_equal(status, -1);
		assert_int_equal(e.code, ERROR_IO);
		assert_non_null(strstr(e.text, archive_path));
		assert_int_equal(count_names(directory, false), 2); /* target too */
	}
	bytes = slurp(archive_path, &len);
	assert_int_equal(len, 5);
	mem_free(bytes);
}

static void a_full_disk_while_unpacking_leaves_nothing(void **state)
{
	struct savepoint_file files[] = {{.name = "manifest.json", .bytes = "{}", .len = 2},
		{.name = "s", .bytes = noise, .len = LARGE_BYTES}};

	put_savepoint(files, 2);
	for (rlim_t limit = 0; limit < LARGE_BYTES; limit += 500000) {
		struct error e = ERROR_INIT;
		int status;

		limit_files_to(limit);
		status = savepoint_read(archive_path, target, &e);
		limit_files_to(RLIM_INFINITY);
		assert_int_equal(status, -1);
		assert_int_equal(e.code, ERROR_IO);
		assert_non_null(strstr(e.text, target));
		assert_int_equal(count_names(target, false), 0);
	}
}

static void a_file_that_is_missing_is_named(void **state)
{
	struct savepoint_file files[] = {
		{.name = "manifest.json", .bytes = "{}", .len = 2}, {.name = "s", .path = source}};
	struct savepoint_file no_file = {.name = "s", .path = target};
	struct error e = ERROR_INIT;

	unlink(source);
	unlink(archive_path);
	assert_int_equal(savepoint_write(archive_path, files, 2, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, source));
	error_clear(&e);
	assert_int_equal(savepoint_write(archive_path, &no_file, 1, &e), -1);
	assert_non_null(strstr(e.text, target));
	assert_int_equal(savepoint_write("/nowhere/at/all", files, 1, &e), -1);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
	assert_int_equal(access(archive_path, F_OK), -1);
}

static void what_was_there_before_stays(void **state)
{
	struct error e = ERROR_INIT;
	char path[80];

	put_small();
	snprintf(path, sizeof path, "%s/s", target);
	spit(path, "mine", 4);
	assert_int_equal(savepoint_read(archive_path, target, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(count_names(target, true), 1);
	assert_int_equal(savepoint_read(archive_path, "/nowhere/at/all", &e), -1);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_could_leave_the_directory_is_refused),
		cmocka_unit_test(a_sparse_file_is_refused),
		cmocka_unit_test(what_is_no_archive_is_no_savepoint),
		cmocka_unit_test(files_of_every_size_come_back),
		cmocka_unit_test(names_are_bytes_and_may_be_long),
		cmocka_unit_test(the_same_state_gives_the_same_bytes),
		cmocka_unit_test(tar_lists_it_in_order),
		cmocka_unit_test(what_tar_packs_is_read),
		cmocka_unit_test(cut_at_any_byte_it_is_refused),
		cmocka_unit_test(a_tar_without_its_end_is_refused),
		cmocka_unit_test(no_flipped_bit_goes_unseen),
		cmocka_unit_test(a_damaged_tar_never_crashes),
		cmocka_unit_test(a_write_that_fails_leaves_what_was_there),
		cmocka_unit_test(a_full_disk_while_unpacking_leaves_nothing),
		cmocka_unit_test(a_file_that_is_missing_is_named),
		cmocka_unit_test(what_was_there_before_stays),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
