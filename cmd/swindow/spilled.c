#include "cmd/swindow/spilled.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	PLACE_BITS = 44,       /* of a rank: the part stands above */
	FIXED_BYTES = 1 << 20, /* what tables take that hold next to nothing is not counted */
};

struct run_window {
	int64_t first_us;
	uint64_t at[KEY_GROUPS + 1]; /* where a key group's rows begin */
	uint64_t rows;
};

struct run {
	struct spill_run *file;
	struct run_window *windows; /* by time */
	size_t len, cap, live;
	double row_bytes; /* what a row took in memory */
};

struct spilled {
	const char *directory;
	struct run *runs;
	size_t len, cap;
	uint64_t next_place;
};

struct spilled *spilled_new(const char *directory)
{
	struct spilled *s = mem_zero(sizeof *s);

	s->directory = directory;
	return s;
}

static void run_clear(struct run *r)
{
	spill_run_free(r->file);
	mem_free(r->windows);
}

void spilled_free(struct spilled *s)
{
	for (size_t i = 0; s && i < s->len; i++)
		run_clear(&s->runs[i]);
	if (s)
		mem_free(s->runs);
	mem_free(s);
}

uint64_t spilled_next_place(const struct spilled *s)
{
	return s ? s->next_place : 0;
}

/* ---- windows of runs ---- */

static struct run_window *run_find(const struct run *r, int64_t first_us)
{
	size_t low = 0, high = r->len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->windows[middle].first_us < first_us)
			low = middle + 1;
		else
			high = middle;
	}
	return low < r->len && r->windows[low].first_us == first_us ? &r->windows[low] : NULL;
}

bool spilled_has(const struct spilled *s, int64_t first_us)
{
	for (size_t i = 0; s && i < s->len; i++) {
		const struct run_window *x = run_find(&s->runs[i], first_us);

		if (x && x->rows)
			return true;
	}
	return false;
}

void spilled_windows(const struct spilled *s, struct buf *out)
{
	for (size_t i = 0; i < s->len; i++) {
		for (size_t k = 0; k < s->runs[i].len; k++)
			buf_put(out, &s->runs[i].windows[k].first_us, sizeof(int64_t));
	}
}

void spilled_forget(struct spilled *s, int64_t first_us)
{
	size_t left = 0;

	for (size_t i = 0; s && i < s->len; i++) {
		struct run *r = &s->runs[i];
		struct run_window *x = run_find(r, first_us);

		if (x && x->rows) {
			x->rows = 0;
			r->live--;
		}
		if (r->live == 0)
			run_clear(r);
		else
			s->runs[left++] = *r;
	}
	if (s)
		s->len = left;
}

/* ---- writing ---- */

struct run_writer {
	struct run *run;
	struct batch_builder b;
	unsigned key_group; /* of the window at hand: whose rows come */
};

static int run_flush(struct run_writer *rw, struct error *e)
{
	int status = spill_run_put(rw->run->file, batch_builder_view(&rw->b), e);

	batch_builder_reset(&rw->b);
	return status;
}

/* The rows that follow are of another key group: those before begin and end where they do. */
static int run_group(struct run_writer *rw, unsigned key_group, struct error *e)
{
	struct run_window *x = &rw->run->windows[rw->run->len - 1];

	if (run_flush(rw, e))
		return -1;
	for (; rw->key_group < key_group; rw->key_group++)
		x->at[rw->key_group + 1] = spill_run_place(rw->run->file);
	return 0;
}

static void run_window(struct run_writer *rw, int64_t first_us)
{
	struct run *r = rw->run;

	MEM_GROW(r->windows, r->cap, r->len + 1);
	r->windows[r->len] = (struct run_window){.first_us = first_us};
	r->windows[r->len].at[0] = spill_run_place(r->file);
	r->len++;
	rw->key_group = 0;
}

static int run_open(struct run_writer *rw, struct window *w, struct error *e)
{
	struct spilled *s = w->spilled;
	struct schema schema = SCHEMA_INIT;
	int status;

	schema_set_name(&schema, "groups");
	state_schema(w->plan, &schema);
	MEM_GROW(s->runs, s->cap, s->len + 1);
	rw->run = &s->runs[s->len];
	*rw->run = (struct run){.file = NULL};
	status = spill_run_new(s->directory, &schema, &rw->run->file, e);
	schema_clear(&schema);
	if (status)
		return -1;
	s->len++;
	batch_builder_init(&rw->b, spill_run_schema(rw->run->file));
	return 0;
}

static int run_close(struct run_writer *rw, size_t bytes, int status)
{
	struct run *r = rw->run;
	uint64_t rows = spill_run_rows(r->file);

	r->live = r->len;
	r->row_bytes = rows ? (double)bytes / (double)rows : 0;
	batch_builder_clear(&rw->b);
	return status;
}

static int table_write(
	struct run_writer *rw, struct window *w, const struct state_table *t, struct error *e)
{
	struct table_order order;
	int status = 0;

	run_window(rw, t->first_us);
	table_order_init(&order, t->keys);
	for (unsigned group = 0; group < KEY_GROUPS && status == 0; group++) {
		const uint32_t *ids = order.ids + order.from[group];
		uint32_t n = order.from[group + 1] - order.from[group];

		for (uint32_t at = 0, some; at < n && status == 0; at += some) {
			some = n - at < BATCH_ROWS ? n - at : BATCH_ROWS;
			state_rows_put(w->plan, &rw->b, t, (uint8_t)group, ids + at, some);
			status = run_flush(rw, e);
		}
		if (status == 0)
			status = run_group(rw, group + 1, e);
	}
	rw->run->windows[rw->run->len - 1].rows = keytable_len(t->keys);
	table_order_clear(&order);
	return status;
}

int spilled_put_tables(
	struct window *w, const struct state_table *tables, size_t n, struct error *e)
{
	struct run_writer rw;
	uint32_t most = 0;
	size_t bytes = w->ops->bytes(w);
	int status = 0;

	if (run_open(&rw, w, e))
		return -1;
	for (size_t i = 0; i < n && status == 0; i++) {
		uint32_t len = keytable_len(tables[i].keys);

		most = len > most ? len : most;
		if (len)
			status = table_write(&rw, w, &tables[i], e);
	}
	w->spilled->next_place += most;
	return run_close(&rw, bytes, status);
}

int spilled_put_sessions(
	struct window *w, const struct state_rows *from, uint64_t next_place, struct error *e)
{
	struct run_writer rw;
	size_t bytes = w->ops->bytes(w);
	int status = 0;

	if (run_open(&rw, w, e))
		return -1;
	state_rows_sort(from);
	run_window(&rw, 0);
	for (size_t at = 0, n; at < from->n && status == 0; at += n) {
		const struct state_row *rows = from->rows + at;

		for (n = 0; at + n < from->n && n < BATCH_ROWS &&
			    rows[n].key_group == rows[0].key_group;
			n++)
			;
		status = run_group(&rw, rows[0].key_group, e);
		state_sessions_put(w->plan, &rw.b, from, rows, (uint32_t)n);
		if (status == 0)
			status = run_flush(&rw, e);
	}
	if (status == 0)
		status = run_group(&rw, KEY_GROUPS, e);
	rw.run->windows[0].rows = from->n;
	w->spilled->next_place = next_place;
	return run_close(&rw, bytes, status);
}

struct saved_row {
	int64_t first_us;
	uint32_t key_group, row;
};

static int compare_saved(const void *a, const void *b)
{
	const struct saved_row *x = a, *y = b;

	if (x->first_us != y->first_us)
		return x->first_us < y->first_us ? -1 : 1;
	if (x->key_group != y->key_group)
		return x->key_group < y->key_group ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

static int saved_write(struct run_writer *rw, const struct batch *all, const struct saved_row *rows,
	struct error *e)
{
	uint32_t pick[BATCH_ROWS], n;
	int status = 0;

	for (uint32_t at = 0; at < all->rows && status == 0; at += n) {
		const struct saved_row *x = &rows[at];

		if (at == 0 || x[-1].first_us != x->first_us)
			run_window(rw, x->first_us);
		status = run_group(rw, x->key_group, e);
		for (n = 0; at + n < all->rows && n < BATCH_ROWS && x[n].first_us == x->first_us &&
			    x[n].key_group == x->key_group;
			n++)
			pick[n] = x[n].row;
		rw->run->windows[rw->run->len - 1].rows += n;
		batch_builder_put_picked(&rw->b, all, pick, n);
		if (status == 0)
			status = run_flush(rw, e);
		if (status == 0 && (at + n == all->rows || x[n].first_us != x->first_us))
			status = run_group(rw, KEY_GROUPS, e);
	}
	return status;
}

int spilled_put_saved(struct window *w, const struct batch *all, struct error *e)
{
	struct saved_row *rows = mem_alloc(((size_t)all->rows + 1) * sizeof *rows);
	struct run_writer rw;
	int status = run_open(&rw, w, e);

	for (uint32_t r = 0; r < all->rows; r++) {
		uint64_t place = (uint64_t)column_int(&all->columns[1], r);

		/* Sessions count as one window. */
		rows[r] = (struct saved_row){w->ops->by_place ? 0 : column_int(&all->columns[2], r),
			(uint32_t)column_int(&all->columns[0], r), r};
		if (w->spilled->next_place <= place)
			w->spilled->next_place = place + 1;
	}
	if (all->rows)
		qsort(rows, all->rows, sizeof *rows, compare_saved);
	if (status == 0)
		status = run_close(&rw, 2 * batch_bytes(all), saved_write(&rw, all, rows, e));
	mem_free(rows);
	return status;
}

/* ---- reading ---- */

static int extent_read(const struct run *r, uint64_t from, uint64_t to,
	int (*put)(void *context, const struct batch *b, struct error *e), void *context,
	struct error *e)
{
	struct spill_reader *reader;
	const struct batch *b;
	int status;

	if (from == to)
		return 0;
	reader = spill_reader_new(r->file, from, to);
	while ((status = spill_reader_next(reader, &b, e)) == 0) {
		if (put(context, b, e)) {
			status = -1;
			break;
		}
	}
	spill_reader_free(reader);
	return status < 0 ? -1 : 0;
}

int spilled_each(struct spilled *s, unsigned key_group,
	int (*put)(void *to, const struct batch *b, struct error *e), void *to, struct error *e)
{
	for (size_t i = 0; s && i < s->len; i++) {
		for (size_t k = 0; k < s->runs[i].len; k++) {
			const struct run_window *x = &s->runs[i].windows[k];

			if (x->rows && extent_read(&s->runs[i], x->at[key_group],
					       x->at[key_group + 1], put, to, e))
				return -1;
		}
	}
	return 0;
}

int spilled_read(struct spilled *s, int64_t first_us, unsigned first_group, unsigned end_group,
	int (*put)(void *to, const struct batch *b, struct error *e), void *to, struct error *e)
{
	for (size_t k = 0; k < s->len; k++) {
		const struct run_window *x = run_find(&s->runs[k], first_us);

		if (x && x->rows &&
			extent_read(&s->runs[k], x->at[first_group], x->at[end_group], put, to, e))
			return -1;
	}
	return 0;
}

/* ---- firing slices ---- */

struct rank {
	uint64_t value;
	uint32_t group;
};

struct partition {
	struct spilled_firing f;
	struct window *w;
	const struct spilled_part *parts;
	size_t parts_len;
	int64_t start_us, end_us;
	struct groups *groups;
	uint64_t *ranks; /* per group: its part, and its place there */
	size_t ranks_cap;
	uint64_t part; /* at hand */
};

static void ranks_lower(
	struct partition *p, uint32_t known, const uint32_t *ids, const int64_t *places, uint32_t n)
{
	MEM_GROW(p->ranks, p->ranks_cap, groups_len(p->groups));
	for (uint32_t i = known; i < groups_len(p->groups); i++)
		p->ranks[i] = UINT64_MAX;
	for (uint32_t r = 0; r < n; r++) {
		uint64_t rank = p->part << PLACE_BITS | (uint64_t)places[r];

		if (rank < p->ranks[ids[r]])
			p->ranks[ids[r]] = rank;
	}
}

static int partition_put(void *context, const struct batch *b, struct error *e)
{
	struct partition *p = context;
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	uint32_t known = groups_len(p->groups), *ids;
	int status;

	state_batch_read(p->w->plan, b, &arena, &in);
	status = state_groups_load(p->w, p->groups, &in, &arena, &ids, e);
	ranks_lower(p, known, ids, in.places, in.rows);
	arena_clear(&arena);
	return status;
}

/* The groups in memory whose key group lies in the partition. */
static int partition_add(struct partition *p, const struct groups *from, unsigned first_group,
	unsigned end_group, struct error *e)
{
	uint64_t next = spilled_next_place(p->w->spilled);
	uint8_t *key_groups = state_key_groups(from->keys);
	uint32_t len = groups_len(from), n = 0, known = groups_len(p->groups);
	uint32_t *pick = mem_alloc(((size_t)len + 1) * sizeof *pick), *ids;
	int64_t *places = mem_alloc(((size_t)len + 1) * sizeof *places);
	int status;

	for (uint32_t i = 0; i < len; i++) {
		pick[n] = i;
		places[n] = (int64_t)(next + i);
		n += key_groups[i] >= first_group && key_groups[i] < end_group;
	}
	ids = mem_alloc(((size_t)n + 1) * sizeof *ids);
	status = groups_combine_picked(p->groups, from, p->w->plan, pick, n, ids, e);
	ranks_lower(p, known, ids, places, n);
	mem_free(ids);
	mem_free(places);
	mem_free(pick);
	mem_free(key_groups);
	return status;
}

int spilled_fits(const struct window *w, size_t bytes, struct error *e)
{
	return window_fits(w, bytes > FIXED_BYTES ? bytes - FIXED_BYTES : 0, e);
}

static int partition_load(
	struct spilled_firing *f, unsigned first_group, unsigned end_group, struct error *e)
{
	struct partition *p = (struct partition *)(void *)f;

	groups_free(p->groups, p->w->plan);
	p->groups = groups_new(p->w->plan);
	for (p->part = 0; p->part < p->parts_len; p->part++) {
		const struct spilled_part *part = &p->parts[p->part];

		if (spilled_read(p->w->spilled, part->first_us, first_group, end_group,
			    partition_put, p, e) ||
			partition_add(p, part->groups, first_group, end_group, e))
			return -1;
	}
	return spilled_fits(p->w, groups_bytes(p->groups, p->w->plan), e);
}

static int compare_ranks(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	return x->value < y->value ? -1 : x->value > y->value;
}

/* Its groups that have a result, in their order. */
static uint32_t partition_sort(struct partition *p, struct rank *ranks, struct error *e)
{
	uint32_t n, *living = groups_living(p->groups, p->w->plan, &n, e);

	for (uint32_t i = 0; i < n; i++)
		ranks[i] = (struct rank){p->ranks[living[i]], living[i]};
	mem_free(living);
	if (n)
		qsort(ranks, n, sizeof *ranks, compare_ranks);
	return n;
}

static int partition_results(struct spilled_firing *f, struct spilled_results *to, struct error *e)
{
	struct partition *p = (struct partition *)(void *)f;
	struct rank *ranks = mem_alloc(((size_t)groups_len(p->groups) + 1) * sizeof *ranks);
	uint32_t pick[SPILLED_RESULTS_MAX], n = partition_sort(p, ranks, e);
	int64_t values[SPILLED_RESULTS_MAX];
	struct results r = {.keys = p->groups->keys,
		.aggregates = p->groups->aggregates,
		.key_pick = pick,
		.group_pick = pick,
		.start_us = p->start_us,
		.end_us = p->end_us};
	int status = 0;

	for (uint32_t at = 0; at < n && status == 0; at += r.n) {
		r.n = n - at < SPILLED_RESULTS_MAX ? n - at : SPILLED_RESULTS_MAX;
		for (uint32_t i = 0; i < r.n; i++) {
			pick[i] = ranks[at + i].group;
			values[i] = (int64_t)ranks[at + i].value;
		}
		status = spilled_results_put(p->w, to, &r, values, values, e);
	}
	mem_free(ranks);
	return status;
}

int spilled_fire(struct window *w, const struct spilled_part *parts, size_t n, int64_t start_us,
	int64_t end_us, struct error *e)
{
	struct partition p = {.f = {partition_load, partition_results},
		.w = w,
		.parts = parts,
		.parts_len = n,
		.start_us = start_us,
		.end_us = end_us};
	int64_t *first_us = mem_alloc((n + 1) * sizeof *first_us);
	double bytes = 0;
	int status;

	for (size_t i = 0; i < n; i++) {
		first_us[i] = parts[i].first_us;
		bytes += (double)groups_bytes(parts[i].groups, w->plan);
	}
	status = spilled_run(w, spilled_partitions(w, first_us, n, bytes), &p.f, e);
	groups_free(p.groups, w->plan);
	mem_free(p.ranks);
	mem_free(first_us);
	return status;
}

/* ---- results of a partition ---- */

struct spilled_results {
	struct spill_run *run; /* NULL: they go out at once */
	struct batch_builder b;
};

enum { RANKS = 2 };

int spilled_results_put(struct window *w, struct spilled_results *to, const struct results *r,
	const int64_t *ranks, const int64_t *ranks_after, struct error *e)
{
	int status;

	if (!to->run)
		return results_put(w, r, e);
	builder_put_values(&to->b.columns[0], ranks, r->n);
	builder_put_values(&to->b.columns[1], ranks_after, r->n);
	status = results_parts(w, r, to->b.columns + RANKS, e);
	if (status == 0)
		status = spill_run_put(to->run, batch_builder_view(&to->b), e);
	if (status == 0)
		batch_builder_reset(&to->b);
	return status;
}

/* ---- merging partitions ---- */

struct head {
	struct spill_reader *reader;
	const struct batch *b;
	uint32_t row;
};

static int head_order(const struct head *a, const struct head *b)
{
	for (int i = 0; i < RANKS; i++) {
		int64_t x = column_int(&a->b->columns[i], a->row);
		int64_t y = column_int(&b->b->columns[i], b->row);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

/* 0, 1 at its end, -1. */
static int head_next(struct head *h, struct error *e)
{
	if (h->b && ++h->row < h->b->rows)
		return 0;
	h->row = 0;
	return spill_reader_next(h->reader, &h->b, e);
}

/* A heap by rank: puts its first head where it belongs. */
static void heads_sink(struct head *heads, size_t n)
{
	struct head top = heads[0];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= n)
			break;
		if (child + 1 < n && head_order(&heads[child + 1], &heads[child]) < 0)
			child++;
		if (head_order(&heads[child], &top) >= 0)
			break;
		heads[at] = heads[child];
		at = child;
	}
	heads[at] = top;
}

static int compare_heads(const void *a, const void *b)
{
	return head_order(a, b);
}

static int heads_merge(struct window *w, struct head *heads, size_t n, struct error *e)
{
	if (n)
		qsort(heads, n, sizeof *heads, compare_heads);
	while (n) {
		int status;

		for (size_t i = 0; i < w->plan->parts.fields_len; i++)
			builder_put_from(&w->parts.columns[i], &heads[0].b->columns[i + RANKS],
				heads[0].row);
		if (batch_builder_rows(&w->parts) == BATCH_ROWS && results_flush(w, e))
			return -1;
		status = head_next(&heads[0], e);
		if (status < 0)
			return -1;
		if (status == 1) {
			spill_reader_free(heads[0].reader);
			heads[0] = heads[--n];
			heads[n].reader = NULL;
		}
		if (n)
			heads_sink(heads, n);
	}
	return 0;
}

static int results_merge(
	struct window *w, struct spill_run *run, const uint64_t *at, size_t n, struct error *e)
{
	struct head *heads = mem_zero((n + 1) * sizeof *heads);
	size_t len = 0;
	int status = 0;

	for (size_t i = 0; i < n && status >= 0; i++) {
		struct head *h = &heads[len];

		*h = (struct head){.reader = spill_reader_new(run, at[i], at[i + 1])};
		status = head_next(h, e);
		len += status == 0;
		if (status == 1) {
			spill_reader_free(h->reader);
			h->reader = NULL;
		}
	}
	status = status < 0 ? -1 : heads_merge(w, heads, len, e);
	for (size_t i = 0; i < n; i++)
		spill_reader_free(heads[i].reader);
	mem_free(heads);
	return status;
}

static int results_open(struct window *w, struct spilled_results *to, struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	int status;

	for (size_t i = 0; i < RANKS + w->plan->parts.fields_len; i++) {
		char name[24];
		int len = snprintf(name, sizeof name, "%zu", i);

		schema_add(&schema, name, (size_t)len,
			i < RANKS ? TYPE_OF(TYPE_INT) : w->plan->parts.fields[i - RANKS].type);
	}
	status = spill_run_new(w->spilled->directory, &schema, &to->run, e);
	schema_clear(&schema);
	if (status == 0)
		batch_builder_init(&to->b, spill_run_schema(to->run));
	return status;
}

/* Each fits in half of the memory, as far as there are key groups. */
unsigned spilled_partitions(const struct window *w, const int64_t *first_us, size_t n, double more)
{
	const struct spilled *s = w->spilled;
	double bytes = more, most = (double)w->options.memory_bytes / 2;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < s->len; k++) {
			const struct run_window *x = run_find(&s->runs[k], first_us[i]);

			bytes += x ? (double)x->rows * s->runs[k].row_bytes : 0;
		}
	}
	if (most <= 0 || bytes / most >= KEY_GROUPS)
		return KEY_GROUPS;
	return (unsigned)(bytes / most) + 1;
}

int spilled_run(struct window *w, unsigned partitions, struct spilled_firing *f, struct error *e)
{
	struct spilled_results to = {.run = NULL};
	uint64_t at[KEY_GROUPS + 1] = {0};
	int status = 0;

	if (partitions > 1 && results_open(w, &to, e))
		return -1;
	for (unsigned i = 0; i < partitions && status == 0; i++) {
		status = f->load(
			f, i * KEY_GROUPS / partitions, (i + 1) * KEY_GROUPS / partitions, e);
		if (status == 0)
			status = f->put(f, &to, e);
		at[i + 1] = to.run ? spill_run_place(to.run) : 0;
	}
	if (status == 0 && to.run)
		status = results_merge(w, to.run, at, partitions, e);
	if (to.run) {
		batch_builder_clear(&to.b);
		spill_run_free(to.run);
	}
	return status;
}
