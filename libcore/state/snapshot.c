#include "libcore/state/snapshot.h"

#include "libcore/table/builder.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

/* ---- writing ---- */

struct snapshot_writer {
	struct channel_writer *w;
	struct buf frames;
	uint32_t section; /* schema id of the section being written, 0: none yet */
	uint64_t rows;
};

struct snapshot_writer *snapshot_writer_new(struct channel_writer *w, const char *stage_type)
{
	struct snapshot_writer *s = mem_zero(sizeof *s);
	struct hello h = {.version = FRAME_VERSION, .bounded = true};

	MUST(strlen(stage_type) < sizeof h.stage);
	memcpy(h.stage, stage_type, strlen(stage_type) + 1);
	s->w = w;
	frame_put_hello(&s->frames, &h); /* goes out with the first section */
	return s;
}

void snapshot_writer_free(struct snapshot_writer *s)
{
	if (!s)
		return;
	buf_clear(&s->frames);
	mem_free(s);
}

static int frames_write(struct snapshot_writer *s, struct error *e)
{
	int status = channel_write(s->w, &s->frames, e);

	buf_reset(&s->frames);
	return status;
}

int snapshot_section(struct snapshot_writer *s, const struct schema *schema, struct error *e)
{
	MUST(schema->name);
	frame_put_schema(&s->frames, ++s->section, schema);
	return frames_write(s, e);
}

int snapshot_put(struct snapshot_writer *s, const struct batch *b, struct error *e)
{
	MUST(s->section);
	if (b->rows == 0)
		return 0;
	s->rows += b->rows;
	return channel_write_batch(s->w, s->section, b, e);
}

int snapshot_end(struct snapshot_writer *s, struct error *e)
{
	frame_put_end(&s->frames, s->rows);
	if (frames_write(s, e))
		return -1;
	return channel_flush(s->w, e);
}

void snapshot_order(const uint64_t *hashes, uint32_t n, uint32_t *order)
{
	uint32_t starts[KEY_GROUPS + 1] = {0};

	for (uint32_t i = 0; i < n; i++)
		starts[key_group(hashes[i]) + 1]++;
	for (unsigned g = 0; g < KEY_GROUPS; g++)
		starts[g + 1] += starts[g];
	for (uint32_t i = 0; i < n; i++)
		order[starts[key_group(hashes[i])]++] = i;
}

/* ---- reading ---- */

struct snapshot_reader {
	struct channel_reader *const *streams;
	size_t streams_len, stream; /* the one being read */
	bool begun;                 /* its HELLO has come */
	char type[64];
	struct key_range range;
	struct schema_set schemas; /* of the stream being read */
	uint64_t rows;             /* of the stream so far, as its END counts them */
	struct arena arena;        /* what the last batch lives in */
	struct batch batch;
	int (*take)(
		void *context, const struct batch *b, struct error *e); /* the runtime's sections */
	void *take_context;
};

struct snapshot_reader *snapshot_reader_new(struct channel_reader *const *streams,
	size_t streams_len, const char *stage_type, struct key_range range)
{
	struct snapshot_reader *s = mem_zero(sizeof *s);

	MUST(strlen(stage_type) < sizeof s->type);
	memcpy(s->type, stage_type, strlen(stage_type) + 1);
	s->streams = streams;
	s->streams_len = streams_len;
	s->range = range;
	return s;
}

void snapshot_reader_free(struct snapshot_reader *s)
{
	if (!s)
		return;
	schema_set_clear(&s->schemas);
	arena_clear(&s->arena);
	mem_free(s);
}

void snapshot_reader_intercept(struct snapshot_reader *s,
	int (*take)(void *context, const struct batch *b, struct error *e), void *context)
{
	s->take = take;
	s->take_context = context;
}

static bool is_runtimes(const struct schema *section)
{
	return section->name && section->name[0] == '@';
}

/* What is damaged in a snapshot doesn't fit this pipeline, whatever the frame layer calls it. */
static int damaged(struct snapshot_reader *s, struct error *e)
{
	if (e->code != ERROR_IO)
		e->code = ERROR_STATE;
	return channel_context(s->streams[s->stream], e);
}

static int hello_read(struct snapshot_reader *s, const struct frame *f, struct error *e)
{
	struct hello h;

	if (frame_read_hello(f, &h, e))
		return -1;
	if (strcmp(h.stage, s->type) != 0)
		return error_set(
			e, ERROR_STATE, "the state of a %s doesn't fit a %s", h.stage, s->type);
	s->begun = true;
	s->rows = 0;
	return 0;
}

static int end_read(struct snapshot_reader *s, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (frame_read_end(f, &rows, e))
		return -1;
	if (rows != s->rows)
		return error_set(e, ERROR_STATE, "the snapshot has %llu rows, its end counts %llu",
			(unsigned long long)s->rows, (unsigned long long)rows);
	schema_set_clear(&s->schemas);
	s->begun = false;
	s->stream++;
	return 0;
}

/* Leaves the rows of the subtask's key groups.  *out_rows 0: none of them. */
static int range_pick(struct snapshot_reader *s, struct error *e)
{
	const struct schema *schema = s->batch.schema;
	const struct column *groups = s->batch.columns;
	struct batch all = s->batch;
	uint32_t *pick, n = 0;

	if (schema->fields_len == 0 || strcmp(schema->fields[0].name, "key_group") != 0)
		return 0;
	if (schema->fields[0].type.kind != TYPE_INT)
		return error_set(e, ERROR_STATE, "key_group is not an int");
	pick = arena_alloc(&s->arena, ((size_t)all.rows + 1) * sizeof *pick);
	for (uint32_t r = 0; r < all.rows; r++) {
		int64_t group = column_is_valid(groups, r) ? column_int(groups, r) : -1;

		if (group < 0 || group >= KEY_GROUPS)
			return error_set(e, ERROR_STATE, "row %u has no key group", r);
		pick[n] = r;
		n += key_range_has(s->range, (uint8_t)group);
	}
	if (n < all.rows)
		batch_gather(&all, pick, n, &s->arena, &s->batch);
	return 0;
}

static int section_read(struct snapshot_reader *s, const struct frame *f, struct error *e)
{
	const struct schema *schema;

	if (schema_set_declare(&s->schemas, f, &schema, e))
		return -1;
	if (!is_runtimes(schema) || !s->take)
		return 0;
	s->batch = (struct batch){.schema = schema,
		.columns = ARENA_ARRAY(&s->arena, struct column, schema->fields_len)};
	return s->take(s->take_context, &s->batch, e);
}

/* 0: nothing to hand out, 1: rows for the operator. */
static int rows_read(struct snapshot_reader *s, const struct frame *f, struct error *e)
{
	const struct schema *schema;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e))
		return -1;
	schema = schema_set_find(&s->schemas, id);
	if (!schema || !schema->name)
		return error_set(e, ERROR_STATE, "rows of a section that was not declared");
	if (frame_read_batch(f, schema, true, &s->arena, &s->batch, e))
		return -1;
	s->rows += s->batch.rows;
	if (range_pick(s, e))
		return -1;
	if (!is_runtimes(schema))
		return s->batch.rows > 0;
	return s->take ? s->take(s->take_context, &s->batch, e) : 0;
}

/* One frame.  0: nothing to hand out yet, 1: s->batch holds rows. */
static int frame_take(struct snapshot_reader *s, const struct frame *f, struct error *e)
{
	if (!s->begun && f->kind != FRAME_HELLO)
		return error_set(e, ERROR_STATE, "the snapshot has no HELLO");
	if (s->begun && f->kind == FRAME_HELLO)
		return error_set(e, ERROR_STATE, "a second HELLO in a snapshot");
	switch (f->kind) {
	case FRAME_HELLO: return hello_read(s, f, e);
	case FRAME_SCHEMA: return section_read(s, f, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return rows_read(s, f, e);
	case FRAME_END: return end_read(s, f, e);
	}
	return error_set(e, ERROR_STATE, "%s frame in a snapshot", frame_kind_name(f->kind));
}

int snapshot_next(struct snapshot_reader *s, const struct batch **b, struct error *e)
{
	while (s->stream < s->streams_len) {
		struct channel_reader *stream = s->streams[s->stream];
		struct frame f;
		enum channel_status status = channel_read(stream, true, &f, e);
		int taken;

		if (status == CHANNEL_AGAIN)
			continue; /* a signal */
		if (status == CHANNEL_EOF) {
			error_set(e, ERROR_STATE, "the snapshot is cut short");
			return damaged(s, e);
		}
		if (status == CHANNEL_ERROR) {
			if (e->code != ERROR_IO)
				e->code = ERROR_STATE;
			return -1;
		}
		arena_reset(&s->arena);
		taken = frame_take(s, &f, e);
		if (taken < 0)
			return damaged(s, e);
		if (taken > 0) {
			*b = &s->batch;
			return 0;
		}
	}
	return 1;
}

int snapshot_column(const struct batch *b, const char *name, struct type type,
	const struct column **out, struct error *e)
{
	const struct schema *s = b->schema;
	int i = schema_find(s, name, strlen(name));

	if (i < 0)
		return error_set(e, ERROR_STATE, "the snapshot's section '%s' has no column '%s'",
			s->name, name);
	if (!type_equal(s->fields[i].type, type))
		return error_set(e, ERROR_STATE,
			"column '%s' of the snapshot's section '%s' is %s, not %s", name, s->name,
			type_name(s->fields[i].type), type_name(type));
	*out = &b->columns[i];
	return 0;
}

/* ---- one row of ints ---- */

int snapshot_put_ints(struct snapshot_writer *w, const char *section, const char *const *names,
	const int64_t *values, size_t n, struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	struct batch_builder row;
	int status;

	schema_set_name(&schema, section);
	for (size_t i = 0; i < n; i++)
		schema_add(&schema, names[i], strlen(names[i]), TYPE_OF(TYPE_INT));
	batch_builder_init(&row, &schema);
	for (size_t i = 0; i < n; i++)
		builder_put_int(&row.columns[i], values[i]);
	status = snapshot_section(w, &schema, e);
	if (!status)
		status = snapshot_put(w, batch_builder_view(&row), e);
	batch_builder_clear(&row);
	schema_clear(&schema);
	return status;
}

int snapshot_read_ints(const struct batch *b, const char *section, const char *const *names,
	int64_t *values, size_t n, bool *found, struct error *e)
{
	*found = false;
	if (!b->schema->name || strcmp(b->schema->name, section) != 0)
		return error_set(e, ERROR_STATE, "unknown section '%s'; there is only '%s'",
			b->schema->name ? b->schema->name : "", section);
	for (size_t i = 0; i < n; i++) {
		const struct column *c = NULL;

		if (snapshot_column(b, names[i], TYPE_OF(TYPE_INT), &c, e) < 0)
			return -1;
		if (b->rows)
			values[i] = column_int(c, 0);
	}
	*found = b->rows > 0;
	return 0;
}
