#include "cmd/common/live_table.h"

#include "formats/writer.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/state/rowstore.h"
#include "libcore/table/keys.h"

enum {
	NO_PLACE = -1,
	NAMES_LINES = 2, /* the columns' names and the rule below */
	BUCKETS_LEAST = 64,
	DEAD_PLACES_SLACK = 1024,
};

/* Places are in order of arrival; a free one is skipped until they are closed up. */
struct place {
	uint32_t row;  /* in rows; ROW_NONE: free */
	int next;      /* of the same bucket */
	uint64_t hash; /* of what identifies the row */
};

struct live_table {
	struct schema schema; /* of the rows: no changelog */
	const int *key;       /* columns that identify a row */
	size_t key_len;
	int *all; /* ... if the schema has no keys */
	struct rowstore rows;
	struct place *places;
	size_t places_len, places_cap;
	uint32_t live;
	int *buckets; /* a power of two of them, of first places */
	size_t buckets_len;
	int left;                 /* the place whose row is about to be updated; NO_PLACE */
	struct arena arena;       /* of one batch, one drawing */
	struct buf wanted, found; /* keys that are compared */

	bool stale;
	int drawn_lines;
	struct live_screen drawn_on;
};

struct live_table *live_table_new(const struct schema *s)
{
	struct live_table *t = mem_zero(sizeof *t);

	schema_init(&t->schema);
	schema_copy(&t->schema, s);
	t->schema.changelog = false;
	t->key = t->schema.keys;
	t->key_len = t->schema.keys_len;
	if (!t->key_len) {
		t->all = mem_alloc((s->fields_len + 1) * sizeof *t->all);
		for (size_t i = 0; i < s->fields_len; i++)
			t->all[i] = (int)i;
		t->key = t->all;
		t->key_len = s->fields_len;
	}
	rowstore_init(&t->rows, &t->schema);
	t->left = NO_PLACE;
	t->stale = true;
	return t;
}

void live_table_free(struct live_table *t)
{
	if (!t)
		return;
	rowstore_clear(&t->rows);
	mem_free(t->places);
	mem_free(t->buckets);
	mem_free(t->all);
	arena_clear(&t->arena);
	buf_clear(&t->wanted);
	buf_clear(&t->found);
	schema_clear(&t->schema);
	mem_free(t);
}

uint32_t live_table_rows(const struct live_table *t)
{
	return t->live;
}

/* ---- which row is which ---- */

/* The columns that identify rows; any is compared by its bytes. */
static const struct column **key_columns(struct live_table *t, const struct batch *b)
{
	const struct column **list = ARENA_ARRAY(&t->arena, const struct column *, t->key_len + 1);

	for (size_t i = 0; i < t->key_len; i++) {
		struct column *c = ARENA_NEW(&t->arena, struct column);

		*c = b->columns[t->key[i]];
		if (c->type.kind == TYPE_ANY)
			c->type = TYPE_OF(TYPE_BYTES);
		list[i] = c;
	}
	return list;
}

static void link_place(struct live_table *t, int at)
{
	int *bucket = &t->buckets[t->places[at].hash & (t->buckets_len - 1)];

	t->places[at].next = *bucket;
	*bucket = at;
}

static void unlink_place(struct live_table *t, int at)
{
	int *link = &t->buckets[t->places[at].hash & (t->buckets_len - 1)];

	while (*link != at)
		link = &t->places[*link].next;
	*link = t->places[at].next;
}

static void index_places(struct live_table *t)
{
	size_t len = BUCKETS_LEAST;

	while (len < 2 * t->places_len)
		len *= 2;
	t->buckets_len = len;
	t->buckets = mem_resize(t->buckets, len * sizeof *t->buckets);
	for (size_t i = 0; i < len; i++)
		t->buckets[i] = NO_PLACE;
	/* The last first, so that of equal rows the first is found. */
	for (size_t i = t->places_len; i-- > 0;) {
		if (t->places[i].row != ROW_NONE)
			link_place(t, (int)i);
	}
}

struct wanted {
	const struct column *const *columns;
	uint32_t row;
	uint64_t hash;
};

static int find_place(struct live_table *t, const struct wanted *w)
{
	const struct batch *rows;
	int at;

	if (!t->buckets_len)
		return NO_PLACE;
	at = t->buckets[w->hash & (t->buckets_len - 1)];
	while (at != NO_PLACE) {
		if (t->places[at].hash == w->hash) {
			rows = rowstore_view(&t->rows);
			buf_reset(&t->wanted);
			buf_reset(&t->found);
			keys_put(w->columns, t->key_len, w->row, &t->wanted);
			keys_put(key_columns(t, rows), t->key_len, t->places[at].row, &t->found);
			if (t->wanted.len == t->found.len &&
				!memcmp(t->wanted.data, t->found.data, t->found.len))
				return at;
		}
		at = t->places[at].next;
	}
	return NO_PLACE;
}

/* ---- places ---- */

static void free_place(struct live_table *t, int at)
{
	unlink_place(t, at);
	rowstore_kill(&t->rows, t->places[at].row);
	t->places[at].row = ROW_NONE;
	t->live--;
}

static void fill_place(struct live_table *t, int at, uint32_t row, uint64_t hash)
{
	t->places[at].row = row;
	t->places[at].hash = hash;
	link_place(t, at);
	t->live++;
}

static int new_place(struct live_table *t)
{
	MEM_GROW(t->places, t->places_cap, t->places_len + 1);
	t->places[t->places_len].row = ROW_NONE;
	t->places_len++;
	if (2 * t->places_len > t->buckets_len)
		index_places(t);
	return (int)t->places_len - 1;
}

static void close_up(struct live_table *t)
{
	size_t n = 0;

	if (t->places_len < 2 * (size_t)t->live + DEAD_PLACES_SLACK)
		return;
	for (size_t i = 0; i < t->places_len; i++) {
		bool is_left = t->left == (int)i;

		if (t->places[i].row == ROW_NONE && !is_left)
			continue;
		if (is_left)
			t->left = (int)n;
		t->places[n++] = t->places[i];
	}
	t->places_len = n;
	index_places(t);
}

static void forget_dead_rows(struct live_table *t)
{
	uint32_t *remap;

	if (!rowstore_wants_compact(&t->rows, 0))
		return;
	remap = mem_alloc(t->rows.len * sizeof *remap);
	rowstore_compact(&t->rows, remap);
	for (size_t i = 0; i < t->places_len; i++) {
		if (t->places[i].row != ROW_NONE)
			t->places[i].row = remap[t->places[i].row];
	}
	mem_free(remap);
}

static void take_row(struct live_table *t, const struct wanted *w, enum row_op op, uint32_t stored)
{
	int at = find_place(t, w), left = t->left;

	t->left = NO_PLACE;
	switch (op) {
	case ROW_INSERT:
	case ROW_UPDATE_AFTER:
		if (at != NO_PLACE && !t->all) /* the same key: it takes the other's place */
			free_place(t, at);
		else
			at = op == ROW_UPDATE_AFTER && left != NO_PLACE ? left : new_place(t);
		fill_place(t, at, stored, w->hash);
		return;
	case ROW_UPDATE_BEFORE:
	case ROW_DELETE:
		rowstore_kill(&t->rows, stored);
		if (at == NO_PLACE)
			return;
		free_place(t, at);
		t->left = op == ROW_UPDATE_BEFORE ? at : NO_PLACE;
		return;
	}
}

void live_table_take(struct live_table *t, const struct batch *b)
{
	struct batch rows = *b;
	uint64_t *hashes;
	struct wanted w;
	uint32_t first;

	rows.schema = &t->schema;
	rows.ops = NULL;
	arena_reset(&t->arena);
	hashes = ARENA_ARRAY(&t->arena, uint64_t, b->rows);
	w.columns = key_columns(t, &rows);
	keys_hash(w.columns, t->key_len, b->rows, hashes);
	first = rowstore_add(&t->rows, &rows, NULL, b->rows, NULL, NULL);
	for (uint32_t r = 0; r < b->rows; r++) {
		w.row = r;
		w.hash = hashes[r];
		take_row(t, &w, b->ops ? (enum row_op)b->ops[r] : ROW_INSERT, first + r);
	}
	t->stale |= b->rows > 0;
	close_up(t);
	forget_dead_rows(t);
}

/* ---- drawing ---- */

/* The first n rows, as an ordinary table. */
static void put_table(
	struct live_table *t, uint32_t n, const struct live_screen *screen, struct buf *out)
{
	struct writer_options o = {.columns_max = screen->columns, .color = screen->color};
	uint32_t *pick = ARENA_ARRAY(&t->arena, uint32_t, n);
	struct error e = ERROR_INIT;
	struct writer *w;
	struct batch rows;
	uint32_t picked = 0;

	for (size_t i = 0; picked < n; i++) {
		if (t->places[i].row != ROW_NONE)
			pick[picked++] = t->places[i].row;
	}
	/* A table has nothing to complain about. */
	MUST(writer_new("table", &o, &w, &e) == 0 && writer_schema(w, &t->schema, out, &e) == 0);
	if (n) {
		batch_gather(rowstore_view(&t->rows), pick, n, &t->arena, &rows);
		MUST(writer_rows(w, &rows, out, &e) == 0);
	}
	MUST(writer_end(w, out, &e) == 0);
	writer_free(w);
}

static bool is_same_screen(const struct live_screen *a, const struct live_screen *b)
{
	return a->rows == b->rows && a->columns == b->columns && a->color == b->color;
}

bool live_table_is_stale(const struct live_table *t, const struct live_screen *screen)
{
	return t->stale || !is_same_screen(&t->drawn_on, screen);
}

/* Where the last drawing began.  On a screen of another size nobody knows where its lines are. */
static void put_return(
	const struct live_table *t, const struct live_screen *screen, struct buf *out)
{
	if (!t->drawn_lines)
		return;
	if (is_same_screen(&t->drawn_on, screen))
		buf_printf(out, "\033[%dA\r", t->drawn_lines);
	else
		buf_put_text(out, "\033[H\033[2J");
}

/* Lines one over the other without a blink: what a line leaves of the older one is cleared.  Lines
 * don't wrap, so that they can be counted. */
static int put_lines(const struct buf *text, struct buf *out)
{
	const char *at = (const char *)text->data, *end = at + text->len;
	int lines = 0;

	buf_put_text(out, "\033[?7l");
	for (; at < end; lines++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *next = newline ? newline : end;

		buf_put(out, at, (size_t)(next - at));
		buf_put_text(out, "\033[K\n");
		at = next + 1;
	}
	buf_put_text(out, "\033[J\033[?7h");
	return lines;
}

void live_table_draw(struct live_table *t, const struct live_screen *screen, struct buf *out)
{
	/* The cursor stands below the last line. */
	int room = screen->rows - NAMES_LINES - 1;
	uint32_t shown = t->live;
	struct buf text = BUF_INIT;

	arena_reset(&t->arena);
	if (screen->rows && (room < 0 || t->live > (uint32_t)room))
		shown = room > 1 ? (uint32_t)room - 1 : 0;
	put_table(t, shown, screen, &text);
	if (shown < t->live)
		buf_printf(&text, "%u more\n", t->live - shown);
	put_return(t, screen, out);
	t->drawn_lines = put_lines(&text, out);
	t->drawn_on = *screen;
	t->stale = false;
	buf_clear(&text);
}

void live_table_finish(struct live_table *t, const struct live_screen *screen, struct buf *out)
{
	arena_reset(&t->arena);
	put_return(t, screen, out);
	if (t->drawn_lines)
		buf_put_text(out, "\033[J");
	put_table(t, t->live, screen, out);
	t->drawn_lines = 0;
	t->stale = false;
}
