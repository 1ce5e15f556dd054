#include "cmd/ssort/run_merge.h"

#include "cmd/ssort/gather.h"
#include "libcore/base/memory.h"

/* One run: the batch it is at, and where in it. */
struct source {
	struct spill_reader *reader;
	const struct batch *batch;
	struct order_keys keys;
	uint32_t row;
};

struct run_merge {
	struct order *order;
	struct source *sources;
	size_t sources_len;
	struct gathering gathering; /* from the sources' batches */
	uint32_t *heap;             /* numbers of sources; the least row is that of heap[0] */
	size_t heap_len;
	uint32_t places[BATCH_ROWS];
	uint32_t places_len;
	bool began, exhausted; /* heap[0] is at the end of its batch */
	struct arena arena;
	struct batch out;
};

struct run_merge *run_merge_new(
	const struct schema *s, struct order *order, struct spill_run *const *runs, size_t runs_len)
{
	struct run_merge *m = mem_zero(sizeof *m);

	m->order = order;
	m->sources = mem_zero(runs_len * sizeof *m->sources);
	m->sources_len = runs_len;
	gathering_init(&m->gathering, s, runs_len, BATCH_BYTES);
	m->heap = mem_zero(runs_len * sizeof *m->heap);
	for (size_t i = 0; i < runs_len; i++) {
		m->sources[i].reader = spill_reader_new(runs[i], 0, SPILL_TO_END);
		order_keys_init(&m->sources[i].keys);
	}
	return m;
}

void run_merge_free(struct run_merge *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->sources_len; i++) {
		spill_reader_free(m->sources[i].reader);
		order_keys_clear(&m->sources[i].keys);
	}
	mem_free(m->sources);
	gathering_clear(&m->gathering);
	mem_free(m->heap);
	arena_clear(&m->arena);
	mem_free(m);
}

/* 0, 1: the run is over, -1. */
static int load(struct run_merge *m, uint32_t number, struct error *e)
{
	struct source *s = &m->sources[number];
	int status = spill_reader_next(s->reader, &s->batch, e);

	s->row = 0;
	if (status)
		return status;
	gathering_set(&m->gathering, number, s->batch->columns);
	return order_keys_of(m->order, s->batch, &s->keys, e);
}

/* Of equal rows that of the earlier run comes first. */
static bool before(const struct run_merge *m, uint32_t a, uint32_t b)
{
	const struct source *x = &m->sources[a], *y = &m->sources[b];
	uint64_t p = x->keys.prefix[x->row], q = y->keys.prefix[y->row];
	int way;

	if (p != q)
		return p < q;
	way = order_compare_rest(order_rest(&x->keys, x->row), order_rest(&y->keys, y->row));
	return way ? way < 0 : a < b;
}

static void sift(struct run_merge *m, size_t at)
{
	uint32_t moving = m->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= m->heap_len)
			break;
		if (child + 1 < m->heap_len && before(m, m->heap[child + 1], m->heap[child]))
			child++;
		if (!before(m, m->heap[child], moving))
			break;
		m->heap[at] = m->heap[child];
		at = child;
	}
	m->heap[at] = moving;
}

static int begin(struct run_merge *m, struct error *e)
{
	m->began = true;
	for (uint32_t i = 0; i < m->sources_len; i++) {
		int status = load(m, i, e);

		if (status < 0)
			return -1;
		if (status == 0)
			m->heap[m->heap_len++] = i;
	}
	for (size_t i = m->heap_len / 2; i-- > 0;)
		sift(m, i);
	return 0;
}

/* The rows picked from the batch that is over have been handed out. */
static int go_on(struct run_merge *m, struct error *e)
{
	int status = load(m, m->heap[0], e);

	m->exhausted = false;
	if (status < 0)
		return -1;
	if (status == 1)
		m->heap[0] = m->heap[--m->heap_len];
	if (m->heap_len)
		sift(m, 0);
	return 0;
}

static void pick(struct run_merge *m)
{
	while (m->places_len < BATCH_ROWS) {
		struct source *s = &m->sources[m->heap[0]];

		m->places[m->places_len++] = place_of(m->heap[0], s->row++);
		if (s->row == s->batch->rows) {
			m->exhausted = true;
			return;
		}
		sift(m, 0);
	}
}

int run_merge_next(struct run_merge *m, const struct batch **out, struct error *e)
{
	uint32_t n;

	if (!m->began && begin(m, e) < 0)
		return -1;
	if (!m->places_len) {
		if (m->exhausted && go_on(m, e) < 0)
			return -1;
		if (!m->heap_len)
			return 1;
		pick(m);
	}
	arena_reset(&m->arena);
	n = gather_places(&m->gathering, m->places, m->places_len, &m->arena, &m->out);
	m->places_len -= n;
	for (uint32_t i = 0; i < m->places_len; i++)
		m->places[i] = m->places[i + n];
	*out = &m->out;
	return 0;
}
