/* GB/s of a writer alone:
 *
 *   ssource nexmark:bid?events=100000 > bids.frames; writer_bench FORMAT bids.frames [ROUNDS]
 *
 * Frames lie in memory and are decoded on the way, which copies nothing; every batch's text goes
 * into one buffer that is emptied after, as ssink does around each write(2).  The best of ROUNDS
 * (5). */
#include "formats/writer.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/frame/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <time.h>

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static noreturn void die(const char *text)
{
	fprintf(stderr, "writer_bench: %s\n", text);
	exit(1);
}

static void read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		die("can't open the file");
	while ((n = fread(buf_reserve(out, 1 << 20), 1, 1 << 20, f)) > 0)
		out->len += n;
	fclose(f);
}

struct result {
	uint64_t rows, bytes;
	double seconds;
};

static void take_frame(struct writer *w, const struct frame *f, struct schema_set *schemas,
	struct arena *a, struct buf *out, struct result *r)
{
	struct error e = ERROR_INIT;
	const struct schema *s;
	struct batch b;
	uint32_t id;
	double start;

	if (f->kind == FRAME_SCHEMA) {
		if (schema_set_declare(schemas, f, &s, &e) < 0 || writer_schema(w, s, out, &e) < 0)
			die(e.text);
		return;
	}
	if (f->kind != FRAME_BATCH)
		return;
	arena_reset(a);
	if (frame_read_schema_id(f, &id, &e) < 0 ||
		frame_read_batch(f, schema_set_find(schemas, id), false, a, &b, &e) < 0)
		die(e.text);
	start = cpu_seconds();
	if (writer_rows(w, &b, out, &e) < 0)
		die(e.text);
	r->seconds += cpu_seconds() - start;
	r->bytes += out->len;
	r->rows += b.rows;
	buf_reset(out);
}

static struct result run_round(const char *format, const struct buf *frames)
{
	struct channel_reader *c = channel_reader_new_memory(frames->data, frames->len, "bench");
	struct writer_options o = {.header = true};
	struct schema_set schemas = {.len = 0};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct result r = {.rows = 0};
	struct buf out = BUF_INIT;
	enum channel_status status;
	struct writer *w;
	struct frame f;

	if (writer_new(format, &o, &w, &e) < 0)
		die(e.text);
	while ((status = channel_read(c, false, &f, &e)) == CHANNEL_FRAME)
		take_frame(w, &f, &schemas, &arena, &out, &r);
	if (status == CHANNEL_ERROR)
		die(e.text);
	writer_free(w);
	channel_reader_free(c);
	schema_set_clear(&schemas);
	arena_clear(&arena);
	buf_clear(&out);
	return r;
}

int main(int argc, char **argv)
{
	int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
	struct buf frames = BUF_INIT;
	struct result best = {.seconds = 1e9};

	if (argc < 3)
		die("usage: writer_bench FORMAT FRAMES [ROUNDS]");
	read_file(argv[2], &frames);
	for (int i = 0; i < rounds; i++) {
		struct result r = run_round(argv[1], &frames);

		if (r.seconds < best.seconds)
			best = r;
	}
	printf("%-8s %8.2f M rows/s %8.2f GB/s\n", argv[1], (double)best.rows / best.seconds / 1e6,
		(double)best.bytes / best.seconds / 1e9);
	buf_clear(&frames);
	return 0;
}
