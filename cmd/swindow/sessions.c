/* Sessions: per key, rows that lie no further than the gap from one another.
 *
 *   keys      key -> number; lists[number]: its sessions by time, hardly ever more than one
 *   session   [first, last] of its rows, its place in the order of first appearance; its number is
 *             its group in the aggregates
 *   timers    a heap of (end, session); a session that has grown since is put back when its old end
 *             comes up, so that a row costs no heap operation
 *
 * A row within the gap of a session joins it; one that lies within the gap of two makes them one:
 * the later one's accumulators are combined into the earlier one's once the batch has been dealt.
 */
#include "cmd/swindow/spilled.h"
#include "cmd/swindow/touched.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>

enum {
	NONE = UINT32_MAX,
	KEYS_DEAD_MIN = 4096, /* keys without sessions that are worth a new table */
};

/* The sessions of a key, by time.  One is held in place. */
struct session_list {
	uint32_t len, cap;
	union {
		uint32_t one;
		uint32_t *many; /* if cap */
	};
};

struct session {
	int64_t first_us, last_us;
	uint64_t place;
	uint32_t key;
	uint32_t into; /* merged into this one by the batch at hand, or NONE */
	uint32_t life; /* tells a timer of an earlier session of the same number */
	bool live;
};

struct timer {
	int64_t end_us;
	uint32_t session, life;
};

struct merge {
	uint32_t from, to;
};

struct sessions {
	int64_t gap_us;
	struct keytable *keys;
	struct session_list *lists;
	size_t lists_cap;
	uint32_t lists_len, empty_keys;
	struct session *sessions;
	size_t cap;
	uint32_t len;
	uint32_t *unused; /* numbers of sessions that are gone */
	size_t unused_len, unused_cap;
	uint64_t next_place;
	struct aggregate **aggregates;
	struct timer *timers;
	size_t timers_len, timers_cap;
	struct merge *merges; /* of the batch at hand */
	size_t merges_len, merges_cap;
	size_t list_bytes;
	struct touched changes; /* --emit */
	struct change_source source;
	int64_t least_end_us; /* of the rows that they will take back or give */
};

static struct sessions *sessions_of(const struct window *w)
{
	return w->state;
}

static void show_sessions(struct window *w, const struct change_source *source,
	const struct change *const *list, uint32_t n, bool before, struct results *r);

static void sessions_init(struct window *w)
{
	struct sessions *s = mem_zero(sizeof *s);

	s->gap_us = w->options.size_us;
	s->keys = keytable_new(w->plan->key_types, w->plan->keys_len);
	s->aggregates = mem_zero(w->plan->calls_len * sizeof *s->aggregates);
	for (size_t i = 0; i < w->plan->calls_len; i++)
		s->aggregates[i] = aggregate_new_like(w->plan->calls[i].like);
	s->source = (struct change_source){.show = show_sessions};
	s->least_end_us = INT64_MAX;
	w->state = s;
}

static void sessions_clear(struct window *w)
{
	struct sessions *s = sessions_of(w);

	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_free(s->aggregates[i]);
	mem_free(s->aggregates);
	for (uint32_t k = 0; k < s->lists_len; k++) {
		if (s->lists[k].cap)
			mem_free(s->lists[k].many);
	}
	keytable_free(s->keys);
	mem_free(s->lists);
	mem_free(s->sessions);
	mem_free(s->unused);
	mem_free(s->timers);
	mem_free(s->merges);
	touched_clear(&s->changes);
	mem_free(s);
}

/* ---- the sessions of a key ---- */

static inline uint32_t *list_items(struct session_list *l)
{
	return l->cap ? l->many : &l->one;
}

static void list_insert(struct sessions *s, struct session_list *l, uint32_t at, uint32_t session)
{
	uint32_t *items;

	if (l->len >= 1 && l->len >= l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		uint32_t *many = mem_alloc(cap * sizeof *many);

		memcpy(many, list_items(l), l->len * sizeof *many);
		if (l->cap)
			mem_free(l->many);
		s->list_bytes += (cap - l->cap) * sizeof *many;
		l->many = many;
		l->cap = cap;
	}
	items = list_items(l);
	memmove(items + at + 1, items + at, (l->len - at) * sizeof *items);
	items[at] = session;
	l->len++;
}

static void list_remove(struct sessions *s, struct session_list *l, uint32_t at)
{
	uint32_t *items = list_items(l);

	memmove(items + at, items + at + 1, (l->len - at - 1) * sizeof *items);
	l->len--;
	if (l->len == 0 && l->cap) {
		s->list_bytes -= l->cap * sizeof *items;
		mem_free(l->many);
		l->cap = 0;
	}
}

/* How many of the list's sessions start at or before a time. */
static uint32_t list_before(const struct sessions *s, struct session_list *l, int64_t time_us)
{
	const uint32_t *items = list_items(l);
	uint32_t low = 0, high = l->len;

	if (high && s->sessions[items[high - 1]].first_us <= time_us) /* mostly the newest */
		return high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->sessions[items[middle]].first_us <= time_us)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- timers: a binary heap, the earliest first ---- */

static void timer_push(struct sessions *s, struct timer t)
{
	size_t at = s->timers_len;

	MEM_GROW(s->timers, s->timers_cap, at + 1);
	s->timers_len++;
	while (at > 0 && s->timers[(at - 1) / 2].end_us > t.end_us) {
		s->timers[at] = s->timers[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	s->timers[at] = t;
}

static struct timer timer_pop(struct sessions *s)
{
	struct timer top = s->timers[0], t = s->timers[--s->timers_len];
	size_t at = 0, n = s->timers_len;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= n)
			break;
		if (child + 1 < n && s->timers[child + 1].end_us < s->timers[child].end_us)
			child++;
		if (s->timers[child].end_us >= t.end_us)
			break;
		s->timers[at] = s->timers[child];
		at = child;
	}
	s->timers[at] = t;
	return top;
}

/* ---- sessions come and go ---- */

static uint32_t session_new(struct sessions *s, uint32_t key, int64_t first_us, int64_t last_us)
{
	bool again = s->unused_len > 0;
	uint32_t id = again ? s->unused[--s->unused_len] : s->len++;
	struct session *x;

	MEM_GROW(s->sessions, s->cap, s->len);
	x = &s->sessions[id];
	*x = (struct session){.first_us = first_us,
		.last_us = last_us,
		.place = s->next_place++,
		.key = key,
		.into = NONE,
		.life = again ? x->life : 0,
		.live = true};
	timer_push(s, (struct timer){time_add(last_us, s->gap_us), id, x->life});
	return id;
}

/* Its number can be given again; only between batches, as rows may still carry it. */
static void session_free(struct window *w, uint32_t id)
{
	struct sessions *s = sessions_of(w);

	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_clear_group(s->aggregates[i], id);
	touched_gone(&s->changes, id);
	s->sessions[id].live = false;
	s->sessions[id].life++;
	MEM_GROW(s->unused, s->unused_cap, s->unused_len + 1);
	s->unused[s->unused_len++] = id;
}

/* ---- changes ---- */

static void show_sessions(struct window *w, const struct change_source *source,
	const struct change *const *list, uint32_t n, bool before, struct results *r)
{
	struct sessions *s = sessions_of(w);
	struct arena *a = &w->change_arena;
	uint32_t *keys = arena_alloc(a, ((size_t)n + 1) * sizeof *keys);
	uint32_t *groups = arena_alloc(a, ((size_t)n + 1) * sizeof *groups);
	int64_t *starts = arena_alloc(a, ((size_t)n + 1) * sizeof *starts);
	int64_t *ends = arena_alloc(a, ((size_t)n + 1) * sizeof *ends);

	for (uint32_t i = 0; i < n; i++) {
		const struct session *x = &s->sessions[list[i]->group];

		groups[i] = list[i]->group;
		keys[i] = x->key;
		starts[i] = before ? list[i]->start_us : x->first_us;
		ends[i] = before ? list[i]->end_us : time_add(x->last_us, s->gap_us);
	}
	*r = (struct results){.keys = s->keys,
		.key_pick = keys,
		.aggregates = s->aggregates,
		.group_pick = groups,
		.n = n,
		.starts = starts,
		.ends = ends};
}

/* A session is about to change, or was just made. */
static inline void session_touch(struct window *w, uint32_t id, bool known)
{
	struct sessions *s = sessions_of(w);
	const struct session *x = &s->sessions[id];
	int64_t end_us;

	if (w->options.emit == EMIT_CLOSE)
		return;
	end_us = time_add(x->last_us, s->gap_us);
	if (end_us < s->least_end_us)
		s->least_end_us = end_us;
	touched_note_session(&s->changes, id, known, x->first_us, end_us);
}

static int sessions_emit(struct window *w, struct error *e)
{
	struct sessions *s = sessions_of(w);

	s->least_end_us = INT64_MAX;
	return touched_flush(w, &s->changes, &s->source, e);
}

/* ---- rows into sessions ---- */

/* items[at] takes in items[at + 1], which the row between them has reached. */
static void merge_next(struct window *w, struct session_list *l, uint32_t at)
{
	struct sessions *s = sessions_of(w);
	uint32_t *items = list_items(l), to = items[at], from = items[at + 1];
	struct session *t = &s->sessions[to], *f = &s->sessions[from];

	session_touch(w, from, true);
	t->last_us = f->last_us > t->last_us ? f->last_us : t->last_us;
	t->place = f->place < t->place ? f->place : t->place;
	f->into = to;
	f->live = false;
	MEM_GROW(s->merges, s->merges_cap, s->merges_len + 1);
	s->merges[s->merges_len++] = (struct merge){from, to};
	list_remove(s, l, at + 1);
}

static inline bool reaches(const struct sessions *s, int64_t from_us, int64_t to_us)
{
	return time_add(from_us, s->gap_us) >= to_us;
}

/* The session of a row, or NONE if it is late: it joins none and one of its own would have closed.
 */
static uint32_t session_of(struct window *w, uint32_t key, int64_t time_us)
{
	struct sessions *s = sessions_of(w);
	struct session_list *l = &s->lists[key];
	uint32_t at = list_before(s, l, time_us), id;
	struct session *x;

	if (at > 0) {
		id = list_items(l)[at - 1];
		x = &s->sessions[id];
		if (reaches(s, x->last_us, time_us)) {
			session_touch(w, id, true);
			if (time_us <= x->last_us)
				return id;
			x->last_us = time_us;
			if (at < l->len &&
				reaches(s, time_us, s->sessions[list_items(l)[at]].first_us))
				merge_next(w, l, at - 1);
			return id;
		}
	}
	if (at < l->len) {
		id = list_items(l)[at];
		if (reaches(s, time_us, s->sessions[id].first_us)) {
			session_touch(w, id, true);
			s->sessions[id].first_us = time_us;
			return id;
		}
	}
	if (w->watermark_us != WATERMARK_NONE &&
		window_has_passed(w, time_add(time_us, s->gap_us), w->watermark_us))
		return NONE;
	id = session_new(s, key, time_us, time_us);
	session_touch(w, id, false);
	s->empty_keys -= l->len == 0;
	list_insert(s, l, at, id);
	return id;
}

static void lists_grow(struct sessions *s)
{
	uint32_t len = keytable_len(s->keys);

	MEM_GROW(s->lists, s->lists_cap, len);
	if (len > s->lists_len)
		memset(s->lists + s->lists_len, 0, (len - s->lists_len) * sizeof *s->lists);
	s->empty_keys += len - s->lists_len;
	s->lists_len = len;
}

static void aggregates_grow(struct window *w)
{
	struct sessions *s = sessions_of(w);

	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_resize(s->aggregates[i], s->len);
}

/* Merges in the order they came about: one may take in what an earlier one made. */
static int merges_apply(struct window *w, struct error *e)
{
	struct sessions *s = sessions_of(w);

	for (size_t m = 0; m < s->merges_len; m++) {
		for (size_t i = 0; i < w->plan->calls_len; i++) {
			if (aggregate_combine(s->aggregates[i], &s->merges[m].to, s->aggregates[i],
				    &s->merges[m].from, 1, e))
				return -1;
		}
	}
	return 0;
}

static void merges_forget(struct window *w)
{
	struct sessions *s = sessions_of(w);

	for (size_t m = 0; m < s->merges_len; m++)
		session_free(w, s->merges[m].from);
	s->merges_len = 0;
}

/* Where merges have brought a session. */
static uint32_t session_now(const struct sessions *s, uint32_t id)
{
	while (s->sessions[id].into != NONE)
		id = s->sessions[id].into;
	return id;
}

/* Leaves the rows that aren't late, with their session where merges have brought it. */
static uint32_t rows_resolve(
	const struct sessions *s, uint32_t *ids, uint32_t rows, uint32_t *kept, uint32_t *late)
{
	uint32_t n = 0, lates = 0;

	for (uint32_t r = 0; r < rows; r++) {
		uint32_t id = ids[r];

		if (id == NONE) {
			late[lates++] = r;
			continue;
		}
		ids[n] = session_now(s, id);
		kept[n++] = r;
	}
	return n;
}

static int resolved_add(struct window *w, const struct rows *rows, uint32_t *ids, struct error *e)
{
	struct sessions *s = sessions_of(w);
	uint32_t *kept = arena_alloc(&w->batch_arena, (rows->n + 1) * sizeof *kept);
	uint32_t *late = arena_alloc(&w->batch_arena, (rows->n + 1) * sizeof *late);
	uint32_t n = rows_resolve(s, ids, rows->n, kept, late);
	struct rows some = *rows;

	if (window_put_late(w, late, rows->n - n, e))
		return -1;
	if (n < rows->n)
		rows_gather(rows, kept, n, &w->batch_arena, &some);
	if (n == 0)
		return 0;
	return aggregates_add(s->aggregates, w->plan, &some, ids, &w->batch_arena, e);
}

static int sessions_add(struct window *w, const struct rows *rows, struct error *e)
{
	struct sessions *s = sessions_of(w);
	uint32_t *ids = arena_alloc(&w->batch_arena, (rows->n + 1) * sizeof *ids);
	const struct column **keys = arena_alloc(
		&w->batch_arena, (w->plan->keys_len + 1) * sizeof *keys);

	for (size_t i = 0; i < w->plan->keys_len; i++)
		keys[i] = &rows->columns[i];
	keytable_insert(s->keys, keys, rows->n, rows->hashes, ids);
	lists_grow(s);
	for (uint32_t r = 0; r < rows->n; r++)
		ids[r] = session_of(w, ids[r], rows->times[r]);
	aggregates_grow(w);
	if (touched_before(w, &s->changes, &s->source, e) || merges_apply(w, e) ||
		resolved_add(w, rows, ids, e))
		return -1;
	merges_forget(w);
	return 0;
}

/* ---- firing ---- */

struct fired {
	int64_t end_us;
	uint64_t place;
	uint32_t session;
};

static int compare_fired(const void *a, const void *b)
{
	const struct fired *x = a, *y = b;

	if (x->end_us != y->end_us)
		return x->end_us < y->end_us ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static bool places_rise(const struct fired *f, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (f[i].place < f[i - 1].place)
			return false;
	}
	return true;
}

/* By end, then place.  At the end of a bounded stream all its sessions come here, mostly in the
 * order of their places: then a radix sort by the end alone, which is stable, takes a third of
 * qsort's time. */
static void fired_sort(struct fired *f, size_t n)
{
	enum { BITS = 11, DIGITS = 1 << BITS, SORT_MIN = 4096 };
	int64_t least = INT64_MAX, most = INT64_MIN;
	struct fired *other;

	if (n < SORT_MIN || !places_rise(f, n)) {
		if (n > 1)
			qsort(f, n, sizeof *f, compare_fired);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		least = f[i].end_us < least ? f[i].end_us : least;
		most = f[i].end_us > most ? f[i].end_us : most;
	}
	other = mem_alloc(n * sizeof *other);
	for (unsigned shift = 0; shift < 64 && ((uint64_t)most - (uint64_t)least) >> shift;
		shift += BITS) {
		size_t at[DIGITS] = {0}, sum = 0;

		for (size_t i = 0; i < n; i++)
			at[((uint64_t)f[i].end_us - (uint64_t)least) >> shift & (DIGITS - 1)]++;
		for (size_t d = 0; d < DIGITS; d++) {
			size_t len = at[d];

			at[d] = sum;
			sum += len;
		}
		for (size_t i = 0; i < n; i++)
			other[at[((uint64_t)f[i].end_us - (uint64_t)least) >> shift &
				 (DIGITS - 1)]++] = f[i];
		memcpy(f, other, n * sizeof *f);
	}
	mem_free(other);
}

static void fired_put(struct sessions *s, uint32_t id, struct buf *out)
{
	const struct session *x = &s->sessions[id];
	struct fired f = {time_add(x->last_us, s->gap_us), x->place, id};

	buf_put(out, &f, sizeof f);
}

static void fired_collect(struct window *w, int64_t watermark_us, struct buf *out)
{
	struct sessions *s = sessions_of(w);

	if (watermark_us == WATERMARK_FINAL) { /* all: timers are of no use */
		for (uint32_t id = 0; id < s->len; id++) {
			if (s->sessions[id].live)
				fired_put(s, id, out);
		}
		return;
	}
	while (s->timers_len && window_has_passed(w, s->timers[0].end_us, watermark_us)) {
		struct timer t = timer_pop(s);
		const struct session *x = &s->sessions[t.session];
		int64_t end_us = time_add(x->last_us, s->gap_us);

		if (!x->live || x->life != t.life)
			continue;
		if (end_us > t.end_us)
			timer_push(s, (struct timer){end_us, t.session, t.life});
		else
			fired_put(s, t.session, out);
	}
}

/* to NULL: they go out. */
static int fired_emit(struct window *w, const struct fired *fired, size_t n,
	struct spilled_results *to, struct error *e)
{
	enum { SOME = SPILLED_RESULTS_MAX };
	struct sessions *s = sessions_of(w);
	uint32_t keys[SOME], groups[SOME];
	int64_t starts[SOME], ends[SOME], places[SOME];
	struct results r = {.keys = s->keys,
		.key_pick = keys,
		.aggregates = s->aggregates,
		.group_pick = groups,
		.starts = starts,
		.ends = ends};

	for (size_t i = 0; i < n;) {
		for (r.n = 0; r.n < SOME && i < n; r.n++, i++) {
			const struct session *x = &s->sessions[fired[i].session];

			keys[r.n] = x->key;
			groups[r.n] = fired[i].session;
			starts[r.n] = x->first_us;
			ends[r.n] = fired[i].end_us;
			places[r.n] = (int64_t)x->place;
		}
		if (to ? spilled_results_put(w, to, &r, ends, places, e) : results_put(w, &r, e))
			return -1;
	}
	return 0;
}

static void fired_forget(struct window *w, const struct fired *fired, size_t n)
{
	struct sessions *s = sessions_of(w);

	for (size_t i = 0; i < n; i++) {
		struct session_list *l = &s->lists[s->sessions[fired[i].session].key];
		uint32_t *items = list_items(l), at = 0;

		while (items[at] != fired[i].session)
			at++;
		list_remove(s, l, at);
		s->empty_keys += l->len == 0;
		session_free(w, fired[i].session);
	}
}

/* After the final watermark nothing is left, so nothing needs to be taken out one by one. */
static void all_forget(struct window *w)
{
	struct sessions *s = sessions_of(w);

	for (uint32_t k = 0; k < s->lists_len; k++) {
		if (s->lists[k].cap)
			mem_free(s->lists[k].many);
	}
	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_reset(s->aggregates[i]);
	keytable_reset(s->keys);
	s->list_bytes = 0;
	s->lists_len = s->empty_keys = s->len = 0;
	s->timers_len = s->unused_len = 0;
}

/* Builds the key table again without the keys that have no session: an endless stream may never see
 * them again. */
static void keys_compact(struct window *w)
{
	struct sessions *s = sessions_of(w);
	struct keytable *old = s->keys;
	size_t columns_len = w->plan->keys_len;
	uint32_t n = 0, *pick = mem_alloc((s->lists_len + 1) * sizeof *pick), *ids;
	struct arena arena = ARENA_INIT;
	struct column *columns = ARENA_ARRAY(&arena, struct column, columns_len + 1);
	const struct column **keys = ARENA_ARRAY(&arena, const struct column *, columns_len + 1);
	uint64_t *hashes;

	for (uint32_t k = 0; k < s->lists_len; k++) {
		uint32_t *items = list_items(&s->lists[k]);

		for (uint32_t i = 0; i < s->lists[k].len; i++)
			s->sessions[items[i]].key = n;
		if (s->lists[k].len == 0)
			continue;
		s->lists[n] = s->lists[k];
		pick[n++] = k;
	}
	for (size_t i = 0; i < columns_len; i++) {
		struct column all = keytable_column(old, i);

		column_gather(&all, pick, n, &arena, &columns[i]);
		keys[i] = &columns[i];
	}
	hashes = arena_alloc(&arena, ((size_t)n + 1) * sizeof *hashes);
	ids = arena_alloc(&arena, ((size_t)n + 1) * sizeof *ids);
	keys_hash(keys, columns_len, n, hashes);
	s->keys = keytable_new(w->plan->key_types, columns_len);
	keytable_insert(s->keys, keys, n, hashes, ids);
	s->lists_len = n;
	s->empty_keys = 0;
	keytable_free(old);
	mem_free(pick);
	arena_clear(&arena);
}

static int spilled_end(struct window *w, struct error *e);
static int spilled_back(struct window *w, struct error *e);

static int sessions_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	struct sessions *s;
	struct buf all = BUF_INIT;
	struct fired *fired;
	size_t n;
	int status;

	if (spilled_has(w->spilled, 0)) {
		if (watermark_us == WATERMARK_FINAL)
			return spilled_end(w, e);
		if (spilled_back(w, e))
			return -1;
	}
	s = sessions_of(w);
	if (s->changes.len && window_has_passed(w, s->least_end_us, watermark_us) &&
		sessions_emit(w, e))
		return -1;
	fired_collect(w, watermark_us, &all);
	fired = (struct fired *)(void *)all.data;
	n = all.len / sizeof *fired;
	fired_sort(fired, n);
	status = w->options.emit == EMIT_CLOSE ? fired_emit(w, fired, n, NULL, e) : 0;
	if (watermark_us == WATERMARK_FINAL)
		all_forget(w);
	else if (status == 0)
		fired_forget(w, fired, n);
	buf_clear(&all);
	if (s->empty_keys > KEYS_DEAD_MIN && s->empty_keys > s->lists_len / 2)
		keys_compact(w);
	return status;
}

/* ---- state ---- */

static size_t sessions_bytes(const struct window *w)
{
	const struct sessions *s = sessions_of(w);
	size_t bytes = keytable_bytes(s->keys) + s->list_bytes + s->lists_cap * sizeof *s->lists +
		       s->cap * sizeof *s->sessions + s->timers_cap * sizeof *s->timers +
		       s->unused_cap * sizeof *s->unused;

	for (size_t i = 0; i < w->plan->calls_len; i++)
		bytes += aggregate_bytes(s->aggregates[i]);
	return bytes + touched_bytes(&s->changes);
}

/* The caller frees rows. */
static void rows_collect(struct window *w, struct state_rows *all)
{
	struct sessions *s = sessions_of(w);
	uint8_t *key_groups = state_key_groups(s->keys);

	*all = (struct state_rows){.keys = s->keys,
		.aggregates = s->aggregates,
		.rows = mem_alloc(((size_t)s->len + 1) * sizeof *all->rows)};
	for (uint32_t id = 0; id < s->len; id++) {
		const struct session *x = &s->sessions[id];

		if (x->live)
			all->rows[all->n++] = (struct state_row){.place = x->place,
				.first_us = x->first_us,
				.last_us = x->last_us,
				.key = x->key,
				.group = id,
				.key_group = key_groups[x->key]};
	}
	mem_free(key_groups);
}

static int sessions_save(struct window *w, struct snapshot_writer *writer, struct error *e)
{
	struct state_rows all;
	int status;

	rows_collect(w, &all);
	status = state_put_rows(w, writer, &all, e);
	mem_free(all.rows);
	return status;
}

/* A session that was saved or spilled, which may be a part of one that is there, or of several: then
 * they are one. */
static uint32_t session_take(struct window *w, uint32_t key, int64_t first_us, int64_t last_us,
	uint64_t place, bool *again)
{
	struct sessions *s = sessions_of(w);
	struct session_list *l = &s->lists[key];
	uint32_t at = list_before(s, l, first_us), id;
	struct session *x;

	*again = true;
	if (at > 0 && reaches(s, s->sessions[list_items(l)[at - 1]].last_us, first_us))
		at--;
	else if (at == l->len || !reaches(s, last_us, s->sessions[list_items(l)[at]].first_us))
		*again = false;
	if (!*again) {
		id = session_new(s, key, first_us, last_us);
		s->sessions[id].place = place;
		s->empty_keys -= l->len == 0;
		list_insert(s, l, at, id);
		return id;
	}
	id = list_items(l)[at];
	x = &s->sessions[id];
	x->first_us = first_us < x->first_us ? first_us : x->first_us;
	x->last_us = last_us > x->last_us ? last_us : x->last_us;
	x->place = place < x->place ? place : x->place;
	while (at + 1 < l->len &&
		reaches(s, x->last_us, s->sessions[list_items(l)[at + 1]].first_us))
		merge_next(w, l, at);
	return id;
}

static int sessions_load(struct window *w, const struct batch *b, struct error *e)
{
	struct sessions *s = sessions_of(w);
	struct arena arena = ARENA_INIT;
	struct state_batch in, some;
	size_t bytes = ((size_t)b->rows + 1) * sizeof(uint32_t);
	uint32_t *ids = arena_alloc(&arena, bytes), *picks[2], *to[2], n[2] = {0, 0};
	int status = 0;

	for (int i = 0; i < 2; i++) {
		picks[i] = arena_alloc(&arena, bytes);
		to[i] = arena_alloc(&arena, bytes);
	}
	state_batch_read(w->plan, b, &arena, &in);
	keytable_insert(s->keys, in.keys, in.rows, in.hashes, ids);
	lists_grow(s);
	for (uint32_t r = 0; r < in.rows; r++) {
		uint64_t place = (uint64_t)in.places[r];
		bool again;
		uint32_t id = session_take(
			w, ids[r], in.first_us[r], in.last_us[r], place, &again);

		s->next_place = s->next_place <= place ? place + 1 : s->next_place;
		picks[again][n[again]] = r;
		to[again][n[again]++] = id;
	}
	aggregates_grow(w);
	if (n[0]) {
		state_batch_pick(w->plan, &in, picks[0], n[0], &arena, &some);
		status = state_aggregates_load(w->plan, s->aggregates, &some, to[0], e);
	}
	/* What is there first: a part that makes two sessions one came after the rows of both. */
	if (status == 0)
		status = merges_apply(w, e);
	if (n[1] && status == 0) {
		for (uint32_t r = 0; r < n[1]; r++)
			to[1][r] = session_now(s, to[1][r]);
		state_batch_pick(w->plan, &in, picks[1], n[1], &arena, &some);
		status = state_groups_load_again(w, s->aggregates, &some, to[1], &arena, e);
	}
	merges_forget(w);
	arena_clear(&arena);
	return status;
}

/* ---- on disk: only where no session fires before the end ---- */

static bool sessions_can_spill(const struct window *w)
{
	return w->options.emit == EMIT_CLOSE && w->watermark_us == WATERMARK_NONE &&
	       stage_is_bounded(w->op.stage);
}

static void sessions_restart(struct window *w)
{
	uint64_t next_place = sessions_of(w)->next_place;

	sessions_clear(w);
	sessions_init(w);
	sessions_of(w)->next_place = next_place;
}

static int sessions_spill(struct window *w, struct error *e)
{
	struct state_rows all;
	int status;

	rows_collect(w, &all);
	status = spilled_put_sessions(w, &all, sessions_of(w)->next_place, e);
	mem_free(all.rows);
	if (status == 0)
		sessions_restart(w);
	return status;
}

static void sessions_from_disk(struct window *w)
{
	sessions_of(w)->next_place = spilled_next_place(w->spilled);
}

struct firing {
	struct spilled_firing f;
	struct window *w;
};

static int firing_put_batch(void *to, const struct batch *b, struct error *e)
{
	return sessions_load(to, b, e);
}

static int firing_load(
	struct spilled_firing *f, unsigned first_group, unsigned end_group, struct error *e)
{
	struct window *w = ((struct firing *)(void *)f)->w;

	sessions_restart(w);
	if (spilled_read(w->spilled, 0, first_group, end_group, firing_put_batch, w, e))
		return -1;
	return spilled_fits(w, sessions_bytes(w), e);
}

static int firing_put(struct spilled_firing *f, struct spilled_results *to, struct error *e)
{
	struct window *w = ((struct firing *)(void *)f)->w;
	struct buf all = BUF_INIT;
	int status;

	fired_collect(w, WATERMARK_FINAL, &all);
	fired_sort((struct fired *)(void *)all.data, all.len / sizeof(struct fired));
	status = fired_emit(w, (const struct fired *)(const void *)all.data,
		all.len / sizeof(struct fired), to, e);
	buf_clear(&all);
	return status;
}

/* A watermark before the end after all: sessions fire from memory. */
static int spilled_back(struct window *w, struct error *e)
{
	int status = sessions_spill(w, e);

	if (status == 0)
		status = spilled_read(w->spilled, 0, 0, KEY_GROUPS, firing_put_batch, w, e);
	spilled_forget(w->spilled, 0);
	return status;
}

/* All sessions, which are on disk but for the last. */
static int spilled_end(struct window *w, struct error *e)
{
	struct firing f = {{firing_load, firing_put}, w};
	int status = sessions_spill(w, e);

	if (status == 0)
		status = spilled_run(w, spilled_partitions(w, (int64_t[]){0}, 1, 0), &f.f, e);
	spilled_forget(w->spilled, 0);
	sessions_restart(w);
	return status;
}

const struct window_ops sessions_ops = {
	.init = sessions_init,
	.clear = sessions_clear,
	.add = sessions_add,
	.fire = sessions_fire,
	.emit = sessions_emit,
	.hold_us = 1,
	.bytes = sessions_bytes,
	.spill = sessions_spill,
	.can_spill = sessions_can_spill,
	.from_disk = sessions_from_disk,
	.by_place = true,
	.save = sessions_save,
	.load = sessions_load,
};
