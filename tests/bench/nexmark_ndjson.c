/* Nexmark rows as NDJSON on standard output, and how fast they were generated on standard error:
 *
 *   nexmark_ndjson 'bid?events=1000000' [COLUMN,COLUMN,...] */
#include "cmd/ssource/nexmark.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put_row(const struct batch *rows, uint32_t row, struct buf *out)
{
	char text[64];

	for (size_t i = 0; i < rows->schema->fields_len; i++) {
		const struct column *c = &rows->columns[i];

		buf_printf(out, "%s\"%s\":", i ? "," : "{", rows->schema->fields[i].name);
		if (!column_is_valid(c, row)) {
			buf_put_text(out, "null");
		} else if (c->type.kind == TYPE_INT) {
			buf_put(out, text, int_put(text, column_int(c, row)));
		} else if (c->type.kind == TYPE_TIMESTAMP) {
			buf_put_byte(out, '"');
			buf_put(out, text, timestamp_put(text, column_int(c, row)));
			buf_put_byte(out, '"');
		} else {
			struct text_view t = column_text(c, row);

			buf_put_byte(out, '"'); /* the site's texts have nothing to escape */
			buf_put(out, t.text, t.len);
			buf_put_byte(out, '"');
		}
	}
	buf_put_text(out, "}\n");
}

int main(int argc, char **argv)
{
	struct nexmark_options o;
	struct error e = ERROR_INIT;
	struct schema all = SCHEMA_INIT, wanted = SCHEMA_INIT;
	struct batch_builder b;
	struct buf out = BUF_INIT;
	struct nexmark g;
	uint64_t event = 0, rows = 0;
	double seconds = 0;
	int columns[64], n = 0;

	if (argc < 2 || nexmark_parse_url(argv[1], &o, &e)) {
		fprintf(stderr, "nexmark_ndjson: %s\n",
			argc < 2 ? "usage: see the source" : e.text);
		return 2;
	}
	nexmark_schema(o.kind, &all);
	for (size_t i = 0; i < all.fields_len; i++)
		if (argc < 3 || strstr(argv[2], all.fields[i].name)) {
			columns[n++] = (int)i;
			schema_add_field(&wanted, &all.fields[i]);
		}
	nexmark_init(&g, &o);
	batch_builder_init(&b, &wanted);
	for (;;) {
		double start = now();
		const struct batch *batch;

		batch_builder_reset(&b);
		if (!nexmark_generate(
			    &g, &event, o.events ? o.events : 1000000, BATCH_ROWS, columns, &b))
			break;
		seconds += now() - start;
		batch = batch_builder_view(&b);
		rows += batch->rows;
		buf_reset(&out);
		for (uint32_t r = 0; r < batch->rows; r++)
			put_row(batch, r, &out);
		fwrite(out.data, 1, out.len, stdout);
	}
	fprintf(stderr, "%llu rows, %.1f M rows/s\n", (unsigned long long)rows,
		(double)rows / seconds / 1e6);
	buf_clear(&out);
	batch_builder_clear(&b);
	schema_clear(&all);
	schema_clear(&wanted);
	return 0;
}
