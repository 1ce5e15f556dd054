/* Messages, parted by the byte 0x01, in a format that the first byte says: whatever they are, they give the same rows
 * together as one by one, and a message is taken whole or not at all. */
#include "formats/messages.h"
#include "libcore/base/must.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGES_MAX = 64, SEPARATOR = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const path[] = {"key", "id"};
static const struct wanted_column key = {
	.name = "k", .path = path, .path_len = 2, .position = -1, .type = {.kind = TYPE_INT}};

struct taken {
	struct buf rows;
	uint32_t rows_of[MESSAGES_MAX], bad;
};

static void put_place(void *context, size_t message, struct buf *out)
{
	buf_printf(out, "%zu", message);
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct taken *t = context;

	t->bad++;
	MUST(bad->input && bad->reason && bad->record && bad->line);
	return 0;
}

static int take(struct messages_options *o, const struct message *items, size_t n, size_t at_once,
	struct taken *t)
{
	struct messages *m = NULL;
	struct batch_builder b;
	struct error e = ERROR_INIT;
	int status = 0;

	memset(t, 0, sizeof *t);
	o->bad = (struct bad_sink){.take = take_bad, .context = t};
	if (messages_open(o, items, n, &m, &e) < 0)
		return -1;
	batch_builder_init(&b, messages_schema(m));
	for (size_t first = 0; first < n && status == 0; first += at_once) {
		size_t some = n - first < at_once ? n - first : at_once;
		uint32_t before = batch_builder_rows(&b), rows = 0;

		status = messages_parse(m, items + first, some, &b, t->rows_of + first, &e);
		for (size_t i = 0; i < some && status == 0; i++)
			rows += t->rows_of[first + i];
		MUST(status < 0 || batch_builder_rows(&b) == before + rows);
	}
	for (uint32_t r = 0; status == 0 && r < batch_builder_rows(&b); r++)
		batch_put_row(batch_builder_view(&b), r, &t->rows);
	batch_builder_clear(&b);
	messages_close(m);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const formats[] = {
		"ndjson", "csv", "lines", "debezium-json", "msgpack", "tsv", "ndjson", NULL};
	struct messages_options o = {.put_place = put_place,
		.reader = {.input = "fuzz", .quoted_newlines = true}};
	struct message items[MESSAGES_MAX];
	struct taken one, all;
	size_t n = 0;
	int status;

	if (!size)
		return 0;
	o.format = formats[*data % 8];
	if (*data & 8)
		o.schema_text = strcmp(o.format ? o.format : "", "lines") ? "a int, c2 string" : NULL;
	if (*data & 16) {
		o.keys = &key;
		o.keys_len = 1;
	}
	data++;
	size--;
	for (const uint8_t *end = data + size; n < MESSAGES_MAX && data < end; n++) {
		const uint8_t *next = memchr(data, SEPARATOR, (size_t)(end - data));
		size_t len = (size_t)((next ? next : end) - data);

		items[n] = (struct message){.value = len ? data : NULL, .value_len = len, .key = data,
			.key_len = len};
		data += len + (next != NULL);
	}
	status = take(&o, items, n, 1, &one);
	MUST(take(&o, items, n, MESSAGES_MAX, &all) == status);
	if (status == 0) {
		MUST(one.bad == all.bad);
		MUST(memcmp(one.rows_of, all.rows_of, sizeof one.rows_of) == 0);
		MUST(one.rows.len == all.rows.len &&
			(!all.rows.len || memcmp(one.rows.data, all.rows.data, all.rows.len) == 0));
	}
	buf_clear(&one.rows);
	buf_clear(&all.rows);
	return 0;
}
