/* Snapshot files: a damaged one is refused as state that doesn't fit, never stepped over. */
#include "libcore/base/must.h"
#include "libcore/state/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int take(void *context, const struct batch *b, struct error *e)
{
	MUST(b->schema->name && b->schema->name[0] == '@');
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct channel_reader *stream = channel_reader_new_memory(bytes, len, "f");
	struct snapshot_reader *s =
		snapshot_reader_new(&stream, 1, "swindow", (struct key_range){10, 90});
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	const struct column *groups;
	const struct batch *b;
	int status;

	snapshot_reader_intercept(s, take, NULL);
	while ((status = snapshot_next(s, &b, &e)) == 0) {
		MUST(b->rows && b->schema->name);
		for (uint32_t r = 0; r < b->rows && r < 100; r++)
			batch_put_row(b, r, &text);
		if (snapshot_column(b, "key_group", TYPE_OF(TYPE_INT), &groups, &e) == 0 &&
			groups == b->columns)
			MUST(column_int(groups, 0) >= 10 && column_int(groups, 0) < 90);
	}
	MUST(status == 1 || (e.code == ERROR_STATE && *e.text));
	buf_clear(&text);
	snapshot_reader_free(s);
	channel_reader_free(stream);
	return 0;
}
