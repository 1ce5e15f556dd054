#include "cmd/ssort/sorter.h"

#include "cmd/ssort/gather.h"
#include "cmd/ssort/run_merge.h"
#include "cmd/ssort/radix.h"
#include "cmd/ssort/slabs.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

enum {
	/* A batch of so many rows or bytes is a chunk of its own. */
	CHUNK_ROWS_MIN = BATCH_ROWS / 4,
	CHUNK_BYTES_MIN = BATCH_BYTES / 2,
	SLAB_BYTES_MIN = 64 << 10,
	SLAB_BYTES_MAX = 32 << 20,
	RUN_BATCH_BYTES_MIN = 16 << 10,
	/* What a run under a merge holds beside its batch: the reader's buffer, keys. */
	RUN_OTHER_BYTES = 96 << 10,
	MERGED_MIN = 4,
	MERGED_MAX = 256, /* each has a descriptor */
	/* Words behind the prefix that are sorted by; longer ties are compared whole. */
	TIE_DEPTH_MAX = 64,
};

/* Rows as they came, with what is behind the prefix of their keys; all of it lies in slabs. */
struct chunk {
	struct column *columns;
	struct column rest;
	bool has_rest;
	uint32_t rows;
};

struct run {
	struct spill_run *file;
	unsigned level; /* of how many merges it is the result */
};

struct sorter {
	struct sorter_options o;
	struct order_keys keys; /* of the batch being put */
	struct slabs slabs;     /* the chunks' */
	struct chunk *chunks;
	size_t chunks_len, chunks_cap;
	struct batch_builder staged; /* small batches, until they make a chunk */
	struct column_builder staged_rest;
	bool staged_has_rest;
	struct sort_entry *entries;
	size_t entries_len, entries_cap;
	struct run *runs;
	size_t runs_len, runs_cap;
	int64_t loading; /* number of the run that is loaded; -1 none */

	/* Reading: */
	bool sorted;
	struct gathering gathering; /* from the chunks */
	size_t next;                /* entry */
	struct run_merge *merge;
	struct arena arena;
	struct batch out;
};

struct sorter *sorter_new(const struct sorter_options *o)
{
	struct sorter *s = mem_zero(sizeof *s);
	size_t slab = o->memory_bytes ? o->memory_bytes / 16 : SLAB_BYTES_MAX;

	s->o = *o;
	s->loading = -1;
	order_keys_init(&s->keys);
	slabs_init(&s->slabs, slab < SLAB_BYTES_MIN   ? SLAB_BYTES_MIN
			      : slab > SLAB_BYTES_MAX ? SLAB_BYTES_MAX
						      : slab);
	batch_builder_init(&s->staged, o->schema);
	builder_init(&s->staged_rest, TYPE_OF(TYPE_BYTES));
	return s;
}

static void forget_chunks(struct sorter *s)
{
	slabs_reset(&s->slabs);
	s->chunks_len = s->entries_len = 0;
	gathering_clear(&s->gathering);
}

void sorter_free(struct sorter *s)
{
	if (!s)
		return;
	forget_chunks(s);
	slabs_clear(&s->slabs);
	batch_builder_clear(&s->staged);
	builder_clear(&s->staged_rest);
	run_merge_free(s->merge);
	for (size_t i = 0; i < s->runs_len; i++)
		spill_run_free(s->runs[i].file);
	mem_free(s->runs);
	mem_free(s->chunks);
	mem_free(s->entries);
	order_keys_clear(&s->keys);
	arena_clear(&s->arena);
	mem_free(s);
}

/* ---- rows come in ---- */

static const void *copy(struct sorter *s, const void *from, size_t bytes)
{
	void *to = slabs_alloc(&s->slabs, bytes);

	if (bytes)
		memcpy(to, from, bytes);
	return to;
}

static struct column copy_column(struct sorter *s, const struct column *c, uint32_t rows)
{
	struct column out = {.type = c->type};
	uint32_t *offsets;

	if (c->valid && column_nulls(c, rows))
		out.valid = copy(s, c->valid, (rows + (size_t)7) / 8);
	if (!type_is_text(c->type)) {
		out.data = copy(s, c->data, rows * type_width(c->type));
		return out;
	}
	offsets = slabs_alloc(&s->slabs, (rows + (size_t)1) * sizeof *offsets);
	for (uint32_t r = 0; r <= rows; r++)
		offsets[r] = c->offsets[r] - c->offsets[0];
	out.offsets = offsets;
	out.bytes = copy(s, c->bytes + c->offsets[0], offsets[rows]);
	return out;
}

/* At most PLACE_ROWS rows become a chunk. */
static void add_chunk(struct sorter *s, const struct batch *b, const struct column *rest)
{
	size_t fields = s->o.schema->fields_len;
	struct chunk c = {.rows = b->rows, .has_rest = rest != NULL};

	c.columns = slabs_alloc(&s->slabs, fields * sizeof *c.columns);
	for (size_t i = 0; i < fields; i++)
		c.columns[i] = copy_column(s, &b->columns[i], b->rows);
	if (rest)
		c.rest = copy_column(s, rest, b->rows);
	MEM_GROW(s->chunks, s->chunks_cap, s->chunks_len + 1);
	s->chunks[s->chunks_len++] = c;
}

/* Rows [first, first + n) of the batch whose keys are known, as rows of the next chunk from `row`
 * on. */
static void add_entries(struct sorter *s, uint32_t first, uint32_t n, uint32_t row)
{
	uint32_t number = (uint32_t)s->chunks_len;

	MEM_GROW(s->entries, s->entries_cap, s->entries_len + n);
	for (uint32_t i = 0; i < n; i++)
		s->entries[s->entries_len + i] = (struct sort_entry){
			.key = s->keys.prefix[first + i], .place = place_of(number, row + i)};
	s->entries_len += n;
}

/* What has been staged becomes a chunk. */
static void seal(struct sorter *s)
{
	struct column rest = builder_column(&s->staged_rest);

	if (!batch_builder_rows(&s->staged))
		return;
	add_chunk(s, batch_builder_view(&s->staged), s->staged_has_rest ? &rest : NULL);
	batch_builder_reset(&s->staged);
	builder_reset(&s->staged_rest);
	s->staged_has_rest = false;
}

static void put_empty(struct column_builder *b, uint32_t rows)
{
	while (b->rows < rows)
		builder_put_text(b, NULL, 0);
}

static void stage_rest(struct sorter *s, uint32_t first, uint32_t n)
{
	uint32_t before = batch_builder_rows(&s->staged);

	if (s->keys.has_rest && !s->staged_has_rest)
		put_empty(&s->staged_rest, before);
	s->staged_has_rest |= s->keys.has_rest;
	if (s->keys.has_rest) {
		struct column rest = builder_column(&s->keys.rest);

		builder_put_rows(&s->staged_rest, &rest, first, n);
	} else if (s->staged_has_rest) {
		put_empty(&s->staged_rest, before + n);
	}
}

static void stage_rows(struct sorter *s, const struct batch *b)
{
	for (uint32_t first = 0; first < b->rows;) {
		uint32_t row = batch_builder_rows(&s->staged), room = PLACE_ROWS - row;
		uint32_t n = b->rows - first < room ? b->rows - first : room;

		add_entries(s, first, n, row);
		stage_rest(s, first, n);
		batch_builder_put_rows(&s->staged, b, first, n);
		first += n;
		if (batch_builder_is_full(&s->staged))
			seal(s);
	}
}

static int spill(struct sorter *s, struct error *e);

static bool is_over(const struct sorter *s)
{
	/* An eighth is for what is staged and for the output. */
	size_t budget = s->o.memory_bytes - s->o.memory_bytes / 8;

	return s->chunks_len >= PLACE_SOURCES - 2 ||
	       (s->o.memory_bytes &&
		       slabs_bytes(&s->slabs) + 2 * s->entries_len * sizeof *s->entries >= budget);
}

int sorter_put(struct sorter *s, const struct batch *b, struct error *e)
{
	MUST(!s->sorted);
	if (order_keys_of(s->o.order, b, &s->keys, e) < 0)
		return -1;
	if (b->rows <= PLACE_ROWS &&
		(b->rows >= CHUNK_ROWS_MIN || batch_bytes(b) >= CHUNK_BYTES_MIN)) {
		struct column rest = builder_column(&s->keys.rest);

		seal(s);
		add_entries(s, 0, b->rows, 0);
		add_chunk(s, b, s->keys.has_rest ? &rest : NULL);
	} else {
		stage_rows(s, b);
	}
	return is_over(s) ? spill(s, e) : 0;
}

/* ---- sorting ---- */

static struct text_view rest_of(const struct sorter *s, uint32_t place)
{
	const struct chunk *c = &s->chunks[place_source(place)];

	return c->has_rest ? column_text(&c->rest, place_row(place))
			   : (struct text_view){.text = NULL};
}

/* Eight bytes of a rest, big endian, zeros behind its end: as no key is the beginning of another,
 * those don't make different ones equal. */
static uint64_t rest_word(struct text_view rest, size_t depth)
{
	uint8_t bytes[8] = {0};
	size_t from = depth * 8;
	uint64_t v;

	if (from < rest.len)
		memcpy(bytes, rest.text + from, rest.len - from < 8 ? rest.len - from : 8);
	memcpy(&v, bytes, sizeof v);
	return __builtin_bswap64(v);
}

static int compare_whole(const void *a, const void *b, void *context)
{
	const struct sort_entry *x = a, *y = b;
	int way = order_compare_rest(rest_of(context, x->place), rest_of(context, y->place));

	return way ? way : x->place < y->place ? -1 : x->place > y->place;
}

static void sort_ties(struct sorter *s, struct sort_entry *entries, struct sort_entry *room,
	size_t n, size_t depth);

/* Entries whose keys are equal so far are sorted by what follows. */
static void sort_behind(struct sorter *s, struct sort_entry *entries, struct sort_entry *room,
	size_t n, size_t depth)
{
	for (size_t first = 0, end; first < n; first = end) {
		for (end = first + 1; end < n && entries[end].key == entries[first].key; end++)
			;
		if (end - first > 1)
			sort_ties(s, entries + first, room + first, end - first, depth);
	}
}

static void sort_ties(struct sorter *s, struct sort_entry *entries, struct sort_entry *room,
	size_t n, size_t depth)
{
	for (; depth < TIE_DEPTH_MAX; depth++) {
		bool longer = false, differ = false;

		for (size_t i = 0; i < n; i++) {
			struct text_view rest = rest_of(s, entries[i].place);

			longer |= rest.len > depth * 8;
			entries[i].key = rest_word(rest, depth);
			differ |= entries[i].key != entries[0].key;
		}
		if (!longer)
			return;
		if (differ) {
			radix_sort(entries, room, n);
			sort_behind(s, entries, room, n, depth + 1);
			return;
		}
	}
	qsort_r(entries, n, sizeof *entries, compare_whole, s);
}

static void sort_entries(struct sorter *s)
{
	struct sort_entry *room = mem_alloc((s->entries_len + 1) * sizeof *room);
	bool has_rest = false;

	seal(s);
	gathering_init(&s->gathering, s->o.schema, s->chunks_len, BATCH_BYTES);
	for (size_t i = 0; i < s->chunks_len; i++) {
		gathering_set(&s->gathering, (uint32_t)i, s->chunks[i].columns);
		has_rest |= s->chunks[i].has_rest;
	}
	radix_sort(s->entries, room, s->entries_len);
	if (has_rest)
		sort_behind(s, s->entries, room, s->entries_len, 0);
	mem_free(room);
}

/* The next rows of the sorted entries. */
static void next_sorted(struct sorter *s, size_t bytes)
{
	size_t left = s->entries_len - s->next;
	uint32_t places[BATCH_ROWS], n = left < BATCH_ROWS ? (uint32_t)left : BATCH_ROWS;

	for (uint32_t i = 0; i < n; i++)
		places[i] = s->entries[s->next + i].place;
	arena_reset(&s->arena);
	s->gathering.bytes = bytes;
	s->next += gather_places(&s->gathering, places, n, &s->arena, &s->out);
}

/* ---- runs ---- */

static size_t run_batch_bytes(const struct sorter *s)
{
	size_t bytes = s->o.memory_bytes ? s->o.memory_bytes / 512 : BATCH_BYTES;

	return bytes < RUN_BATCH_BYTES_MIN ? RUN_BATCH_BYTES_MIN
	       : bytes > BATCH_BYTES       ? BATCH_BYTES
					   : bytes;
}

static size_t runs_at_once(const struct sorter *s)
{
	size_t n = s->o.memory_bytes / 2 / (run_batch_bytes(s) + RUN_OTHER_BYTES);

	if (!s->o.memory_bytes || n > MERGED_MAX)
		return MERGED_MAX;
	return n < MERGED_MIN ? MERGED_MIN : n;
}

static int add_run(struct sorter *s, unsigned level, struct error *e)
{
	MEM_GROW(s->runs, s->runs_cap, s->runs_len + 1);
	s->runs[s->runs_len] = (struct run){.level = level};
	if (spill_run_new(s->o.temporary, s->o.schema, &s->runs[s->runs_len].file, e) < 0)
		return -1;
	s->runs_len++;
	return 0;
}

static struct run_merge *merge_of(struct sorter *s, size_t first, size_t n)
{
	struct spill_run **files = mem_alloc(n * sizeof(struct spill_run *));
	struct run_merge *m;

	for (size_t i = 0; i < n; i++)
		files[i] = s->runs[first + i].file;
	m = run_merge_new(s->o.schema, s->o.order, files, n);
	mem_free(files);
	return m;
}

/* Gathers what a merge gives into batches of a run's size. */
static int write_merged(
	struct sorter *s, struct run_merge *m, struct spill_run *to, struct error *e)
{
	struct batch_builder rows;
	const struct batch *part;
	size_t bytes = 0;
	int status;

	batch_builder_init(&rows, s->o.schema);
	while ((status = run_merge_next(m, &part, e)) == 0) {
		if (bytes >= run_batch_bytes(s) ||
			batch_builder_rows(&rows) + part->rows > BATCH_ROWS) {
			if (spill_run_put(to, batch_builder_view(&rows), e) < 0 ||
				stage_alive(s->o.stage, e) < 0)
				break;
			batch_builder_reset(&rows);
			bytes = 0;
		}
		batch_builder_put_rows(&rows, part, 0, part->rows);
		bytes += batch_bytes(part);
	}
	if (status == 1)
		status = spill_run_put(to, batch_builder_view(&rows), e) < 0 ? -1 : 0;
	else
		status = -1;
	batch_builder_clear(&rows);
	return status;
}

/* The last n runs become one. */
static int merge_last(struct sorter *s, size_t n, struct error *e)
{
	size_t first = s->runs_len - n;
	unsigned level = s->runs[first].level + 1;
	struct run_merge *m;
	struct run merged;
	int status;

	if (add_run(s, level, e) < 0)
		return -1;
	merged = s->runs[--s->runs_len];
	m = merge_of(s, first, n);
	status = write_merged(s, m, merged.file, e);
	run_merge_free(m);
	for (size_t i = first; i < s->runs_len; i++)
		spill_run_free(s->runs[i].file);
	s->runs[first] = merged;
	s->runs_len = first + 1;
	return status;
}

/* Once there are as many runs of one level as can be merged at once, they are: every row is written
 * once a level, and levels are few. */
static int merge_level(struct sorter *s, struct error *e)
{
	size_t n = 0;

	while (n < s->runs_len &&
		s->runs[s->runs_len - 1 - n].level == s->runs[s->runs_len - 1].level)
		n++;
	return n >= runs_at_once(s) ? merge_last(s, n, e) : 0;
}

static int spill(struct sorter *s, struct error *e)
{
	sort_entries(s);
	if (add_run(s, 0, e) < 0)
		return -1;
	for (s->next = 0; s->next < s->entries_len;) {
		next_sorted(s, run_batch_bytes(s));
		if (spill_run_put(s->runs[s->runs_len - 1].file, &s->out, e) < 0 ||
			stage_alive(s->o.stage, e) < 0)
			return -1;
	}
	s->next = 0;
	forget_chunks(s);
	return merge_level(s, e);
}

/* ---- rows go out ---- */

static int begin(struct sorter *s, struct error *e)
{
	size_t most = runs_at_once(s);

	s->sorted = true;
	if (!s->runs_len) {
		sort_entries(s);
		return 0;
	}
	if (s->entries_len && spill(s, e) < 0)
		return -1;
	while (s->runs_len > most) {
		size_t n = s->runs_len - most + 1;

		if (merge_last(s, n < most ? n : most, e) < 0)
			return -1;
	}
	mem_free(s->entries);
	s->entries = NULL;
	s->entries_cap = 0;
	s->merge = merge_of(s, 0, s->runs_len);
	return 0;
}

int sorter_next(struct sorter *s, const struct batch **out, struct error *e)
{
	if (!s->sorted && begin(s, e) < 0)
		return -1;
	if (s->merge)
		return run_merge_next(s->merge, out, e);
	if (s->next == s->entries_len)
		return 1;
	next_sorted(s, BATCH_BYTES);
	*out = &s->out;
	return 0;
}

/* ---- snapshots ---- */

static int save_batch(const struct schema *saved, const struct batch *b, int64_t run,
	struct snapshot_writer *w, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct column *columns = ARENA_ARRAY(&arena, struct column, saved->fields_len);
	int64_t *numbers = arena_alloc(&arena, (b->rows + (size_t)1) * sizeof *numbers);
	struct batch all = {.schema = saved, .rows = b->rows, .columns = columns};
	int status;

	for (uint32_t r = 0; r < b->rows; r++)
		numbers[r] = run;
	columns[0] = (struct column){.type = TYPE_OF(TYPE_INT), .data = numbers};
	if (saved->fields_len > 1)
		memcpy(columns + 1, b->columns, (saved->fields_len - 1) * sizeof *columns);
	status = snapshot_put(w, &all, e);
	arena_clear(&arena);
	return status;
}

static int save_run(const struct sorter *s, size_t run, const struct schema *saved,
	struct snapshot_writer *w, struct error *e)
{
	struct spill_reader *r = spill_reader_new(s->runs[run].file, 0, SPILL_TO_END);
	const struct batch *b;
	int status;

	while ((status = spill_reader_next(r, &b, e)) == 0) {
		status = save_batch(saved, b, (int64_t)run, w, e);
		if (status < 0)
			break;
	}
	spill_reader_free(r);
	return status < 0 ? -1 : 0;
}

static void saved_schema(const struct schema *rows, struct schema *s)
{
	struct buf name = BUF_INIT;

	schema_init(s);
	schema_set_name(s, "rows");
	schema_add(s, "run", 3, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < rows->fields_len; i++) {
		buf_reset(&name);
		buf_printf(&name, "row.%s", rows->fields[i].name);
		schema_add(s, (const char *)name.data, name.len, rows->fields[i].type);
	}
	buf_clear(&name);
}

int sorter_save(struct sorter *s, struct snapshot_writer *w, struct error *e)
{
	struct schema saved;
	int status;

	MUST(!s->sorted);
	saved_schema(s->o.schema, &saved);
	status = snapshot_section(w, &saved, e);
	for (size_t i = 0; i < s->runs_len && status == 0; i++)
		status = save_run(s, i, &saved, w, e);
	for (size_t i = 0; i < s->chunks_len && status == 0; i++) {
		struct batch b = {.rows = s->chunks[i].rows, .columns = s->chunks[i].columns};

		status = save_batch(&saved, &b, -1, w, e);
	}
	if (status == 0)
		status = save_batch(&saved, batch_builder_view(&s->staged), -1, w, e);
	schema_clear(&saved);
	return status;
}

/* Rows [first, first + n) of a saved batch, all of one run. */
static int load_part(struct sorter *s, const struct batch *b, int64_t run, struct error *e)
{
	if (run < 0)
		return sorter_put(s, b, e);
	if (run != s->loading && add_run(s, 0, e) < 0)
		return -1;
	s->loading = run;
	return spill_run_put(s->runs[s->runs_len - 1].file, b, e);
}

int sorter_load(struct sorter *s, const struct batch *saved, struct error *e)
{
	const struct column *runs = &saved->columns[0];
	struct batch rows = {
		.schema = s->o.schema, .rows = saved->rows, .columns = saved->columns + 1};
	struct schema wanted;
	bool fits;

	saved_schema(s->o.schema, &wanted);
	fits = schema_equal(&wanted, saved->schema);
	schema_clear(&wanted);
	if (!fits)
		return error_set(e, ERROR_STATE,
			"the rows kept so far have other columns than the stream has now");
	return saved->rows ? load_part(s, &rows, column_int(runs, 0), e) : 0;
}
