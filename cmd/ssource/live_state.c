#include "cmd/ssource/live_state.h"

#include "libcore/base/memory.h"
#include "libcore/state/named_section.h"

#include <string.h>

/* ---- what is settled ---- */

enum { L_SCHEMA, L_FORMAT, L_HEADER, L_ROWS, L_NOW, L_COLUMNS };

static const struct named_column live_columns[L_COLUMNS] = {
	[L_SCHEMA] = {"schema", TYPE_STRING},
	[L_FORMAT] = {"format", TYPE_STRING},
	[L_HEADER] = {"header", TYPE_INT},
	[L_ROWS] = {"rows", TYPE_INT},
	[L_NOW] = {"now", TYPE_TIMESTAMP},
};

void live_state_clear(struct live_state *s)
{
	mem_free(s->spec);
	mem_free(s->format);
	*s = (struct live_state){.now_us = WATERMARK_NONE};
}

int live_state_put(const struct live_state *s, struct snapshot_writer *w, struct error *e)
{
	struct named_section out;

	named_section_begin(&out, w, "live", live_columns, L_COLUMNS, e);
	builder_put_string(&out.columns[L_SCHEMA], s->spec);
	builder_put_string(&out.columns[L_FORMAT], s->format);
	builder_put_int(&out.columns[L_HEADER], s->header);
	builder_put_int(&out.columns[L_ROWS], (int64_t)s->rows);
	builder_put_int_unless(&out.columns[L_NOW], s->now_us == WATERMARK_NONE, s->now_us);
	named_section_row(&out);
	return named_section_end(&out);
}

int live_state_take(struct live_state *s, const struct batch *b, struct error *e)
{
	const struct column *c[L_COLUMNS];

	if (named_section_find(b, live_columns, L_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) { /* one of every subtask there was */
		int64_t now_us = column_int_or(c[L_NOW], row, WATERMARK_NONE);

		s->rows += (uint64_t)column_int_or(c[L_ROWS], row, 0);
		s->now_us = now_us > s->now_us ? now_us : s->now_us;
		if (s->spec || !column_is_valid(c[L_SCHEMA], row))
			continue;
		s->spec = column_strdup(c[L_SCHEMA], row);
		s->format = column_strdup(c[L_FORMAT], row);
		s->header = (int)column_int_or(c[L_HEADER], row, 0);
	}
	return 0;
}

/* ---- files ---- */

enum {
	F_INPUT,
	F_PATH,
	F_NAME,
	F_DEVICE,
	F_INODE,
	F_HEAD_BYTES,
	F_HEAD_HASH,
	F_BYTES,
	F_CHANGED,
	F_ENTRY,
	F_OFFSET,
	F_LINE,
	F_OVER,
	F_PACKED,
	F_GREATEST,
	F_SILENT,
	F_TURN,
	F_COLUMNS
};

static const struct named_column file_columns[F_COLUMNS] = {
	[F_INPUT] = {"input", TYPE_INT},
	[F_PATH] = {"path", TYPE_STRING},
	[F_NAME] = {"name", TYPE_STRING},
	[F_DEVICE] = {"device", TYPE_INT},
	[F_INODE] = {"inode", TYPE_INT},
	[F_HEAD_BYTES] = {"head_bytes", TYPE_INT},
	[F_HEAD_HASH] = {"head_hash", TYPE_INT},
	[F_BYTES] = {"bytes", TYPE_INT},
	[F_CHANGED] = {"changed", TYPE_TIMESTAMP},
	[F_ENTRY] = {"entry", TYPE_INT},
	[F_OFFSET] = {"offset", TYPE_INT},
	[F_LINE] = {"line", TYPE_INT},
	[F_OVER] = {"over", TYPE_BOOL},
	[F_PACKED] = {"packed", TYPE_BOOL},
	[F_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
	[F_SILENT] = {"silent", TYPE_DURATION},
	[F_TURN] = {"turn", TYPE_INT},
};

static void put_file(const struct followed *x, int64_t mono_us, struct column_builder *c)
{
	int64_t greatest_us = x->partition ? x->partition->greatest_us : x->greatest_us;
	struct records_range r = x->range;

	if (x->records && !records_left(x->records, 0, &r))
		r.start = x->bytes;
	builder_put_int(&c[F_INPUT], x->input);
	builder_put_string(&c[F_PATH], x->path);
	builder_put_string(&c[F_NAME], x->name);
	builder_put_int(&c[F_DEVICE], (int64_t)x->identity.device);
	builder_put_int(&c[F_INODE], (int64_t)x->identity.inode);
	builder_put_int(&c[F_HEAD_BYTES], x->identity.head_len);
	builder_put_int(&c[F_HEAD_HASH], (int64_t)x->identity.head_hash);
	builder_put_int(&c[F_BYTES], (int64_t)x->bytes);
	builder_put_int(&c[F_CHANGED], x->changed_us);
	builder_put_int(&c[F_ENTRY], r.entry);
	builder_put_int(&c[F_OFFSET], (int64_t)r.start);
	builder_put_int_unless(&c[F_LINE], !r.line, (int64_t)r.line);
	builder_put_bool(&c[F_OVER], x->over);
	builder_put_bool(&c[F_PACKED], x->is_packed);
	builder_put_int_unless(&c[F_GREATEST], greatest_us == WATERMARK_NONE, greatest_us);
	builder_put_int(
		&c[F_SILENT], x->partition ? mono_us - x->partition->active_us : x->silent_us);
	builder_put_int(&c[F_TURN], (int64_t)(x->partition ? x->partition->turn : x->turn));
}

int followed_put(
	const struct follow *f, int64_t mono_us, struct snapshot_writer *w, struct error *e)
{
	struct named_section out;

	named_section_begin(&out, w, "followed", file_columns, F_COLUMNS, e);
	for (size_t i = 0; i < f->files_len; i++) {
		if (f->files[i]->removed)
			continue;
		put_file(f->files[i], mono_us, out.columns);
		named_section_row(&out);
	}
	return named_section_end(&out);
}

static void take_file(struct follow *f, const struct column *const *c, uint32_t row)
{
	char *path = column_strdup(c[F_PATH], row), *name = column_strdup(c[F_NAME], row);
	struct followed *x = follow_put(
		f, (uint32_t)column_int_or(c[F_INPUT], row, 0), path ? path : "", name ? name : "");

	mem_free(path);
	mem_free(name);
	x->identity = (struct file_identity){.device = (uint64_t)column_int_or(c[F_DEVICE], row, 0),
		.inode = (uint64_t)column_int_or(c[F_INODE], row, 0),
		.head_len = (uint32_t)column_int_or(c[F_HEAD_BYTES], row, 0),
		.head_hash = (uint64_t)column_int_or(c[F_HEAD_HASH], row, 0)};
	x->bytes = (uint64_t)column_int_or(c[F_BYTES], row, 0);
	x->changed_us = column_int_or(c[F_CHANGED], row, 0);
	x->range.entry = (uint32_t)column_int_or(c[F_ENTRY], row, 0);
	x->range.start = (uint64_t)column_int_or(c[F_OFFSET], row, 0);
	x->range.line = (uint64_t)column_int_or(c[F_LINE], row, 0);
	x->range.is_begun = true;
	x->over = column_is_true(c[F_OVER], row);
	x->is_packed = column_is_true(c[F_PACKED], row);
	x->greatest_us = column_int_or(c[F_GREATEST], row, WATERMARK_NONE);
	x->silent_us = column_int_or(c[F_SILENT], row, 0);
	x->turn = (uint64_t)column_int_or(c[F_TURN], row, 0);
	f->turns = x->turn > f->turns ? x->turn : f->turns;
}

int followed_take(struct follow *f, size_t inputs_len, const struct batch *b, struct error *e)
{
	const struct column *c[F_COLUMNS];

	if (named_section_find(b, file_columns, F_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) {
		if ((uint64_t)column_int_or(c[F_INPUT], row, 0) >= inputs_len ||
			column_int_or(c[F_HEAD_BYTES], row, 0) > IDENTITY_HEAD_MAX)
			return error_set(e, ERROR_STATE,
				"a followed file of input %lld, but there are "
				"only %zu inputs",
				(long long)column_int_or(c[F_INPUT], row, 0) + 1, inputs_len);
		take_file(f, c, row);
	}
	return 0;
}
