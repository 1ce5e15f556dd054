/* GB/s of a reader alone, on a file in memory:
 *
 *   reader_bench FORMAT 'NAME TYPE, NAME TYPE, ...' FILE [ROUNDS]
 *
 * The file is shown in windows of 1 MiB, as a pipe or page cache would; the best of ROUNDS (5). */
#include "formats/reader.h"
#include "libcore/base/arena.h"
#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <time.h>

enum { WINDOW_BYTES = 1 << 20, COLUMNS_MAX = 64 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static noreturn void die(const char *text)
{
	fprintf(stderr, "reader_bench: %s\n", text);
	exit(1);
}

static uint8_t *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes;
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
		die("can't read the file");
	rewind(f);
	bytes = mem_alloc((size_t)size + 1);
	*len = fread(bytes, 1, (size_t)size, f);
	fclose(f);
	return bytes;
}

/* 'name type, name type(ms)': enough for a benchmark; no quotes, no dots in names. */
static size_t parse_schema(char *text, struct arena *a, struct wanted_column *out)
{
	struct error e = ERROR_INIT;
	size_t n = 0;

	for (char *save, *item = strtok_r(text, ",", &save); item && n < COLUMNS_MAX;
		item = strtok_r(NULL, ",", &save), n++) {
		char name[128], type[64];
		const char **path = ARENA_ARRAY(a, const char *, 1);

		if (sscanf(item, " %127s %63s", name, type) != 2)
			die("a column is NAME TYPE");
		path[0] = arena_strdup(a, name);
		out[n] = (struct wanted_column){
			.name = path[0], .path = path, .path_len = 1, .position = -1};
		if (!strcmp(type, "timestamp(ms)")) {
			out[n].type = TYPE_OF(TYPE_TIMESTAMP);
			out[n].unit = TIME_MS;
		} else if (type_parse(type, strlen(type), &out[n].type, &e)) {
			die(e.text);
		}
	}
	return n;
}

static struct reader *new_reader(const char *format)
{
	struct reader_options o = {.input = "bench", .quoted_newlines = true};

	if (!strcmp(format, "ndjson"))
		return ndjson_reader_new(&o);
	if (!strcmp(format, "lines"))
		return lines_reader_new(&o);
	if (!strcmp(format, "csv"))
		return csv_reader_new(&o);
	die("FORMAT is ndjson, lines or csv");
}

static uint64_t run(struct reader *r, const uint8_t *bytes, size_t len,
	struct column_builder *columns, size_t n)
{
	struct error e = ERROR_INIT;
	uint64_t rows = 0;
	size_t at = 0;

	r->ops->start(r, "bench");
	while (at < len) {
		size_t window = len - at < WINDOW_BYTES ? len - at : WINDOW_BYTES, consumed;

		for (size_t i = 0; i < n; i++)
			builder_reset(&columns[i]);
		if (r->ops->parse(r, bytes + at, window, at + window == len, BATCH_ROWS, columns,
			    NULL, &consumed, &e))
			die(e.text);
		if (!consumed)
			die("a record longer than the window");
		rows += n ? columns[0].rows : 0;
		at += consumed;
	}
	return rows;
}

static void bench(const char *format, struct wanted_column *wanted, size_t n, const uint8_t *bytes,
	size_t len, int rounds)
{
	struct column_builder columns[COLUMNS_MAX];
	struct reader *r = new_reader(format);
	struct error e = ERROR_INIT;
	double best = 1e9;
	uint64_t rows = 0;

	for (size_t i = 0; i < n; i++)
		builder_init(&columns[i], wanted[i].type);
	if (r->ops->want(r, wanted, n, &e))
		die(e.text);
	for (int i = 0; i < rounds; i++) {
		double start = now(), seconds;

		rows = run(r, bytes, len, columns, n);
		seconds = now() - start;
		best = seconds < best ? seconds : best;
	}
	printf("%s %s: %llu rows, %zu columns, %.2f GB/s, %.1f M rows/s, %.1f ns a row\n", format,
		cpu_has_avx2() ? "avx2" : "portable", (unsigned long long)rows, n,
		(double)len / best / 1e9, (double)rows / best / 1e6, best / (double)rows * 1e9);
	for (size_t i = 0; i < n; i++)
		builder_clear(&columns[i]);
	r->ops->free(r);
}

int main(int argc, char **argv)
{
	struct wanted_column wanted[COLUMNS_MAX];
	struct arena a = ARENA_INIT;
	uint8_t *bytes;
	size_t n, len;

	if (argc < 4)
		die("usage: reader_bench FORMAT 'NAME TYPE, ...' FILE [ROUNDS]");
	n = parse_schema(argv[2], &a, wanted);
	bytes = read_file(argv[3], &len);
	for (int portable = 0; portable < 2; portable++) {
		cpu_force_portable(portable);
		bench(argv[1], wanted, n, bytes, len,
			argc > 4 ? (int)strtol(argv[4], NULL, 10) : 5);
	}
	mem_free(bytes);
	arena_clear(&a);
	return 0;
}
