/* Ordered rows in, matches out. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows of a key ---- */

uint32_t match_key_row(const struct match_key *k, uint64_t row)
{
	return row >= k->first && row - k->first < k->len ? k->rows[k->head + (row - k->first)] : ROW_NONE;
}

uint32_t match_key_beside(const struct match_key *k, uint64_t row, int64_t shift)
{
	if (shift < 0 && row < (uint64_t)-shift)
		return ROW_NONE;
	return match_key_row(k, row + (uint64_t)shift);
}

void match_key_push(struct smatch *m, struct match_key *k, uint32_t stored)
{
	if (k->head + k->len == k->cap) {
		if (k->head && k->head >= k->cap / 2) {
			memmove(k->rows, k->rows + k->head, k->len * sizeof *k->rows);
		} else {
			uint32_t cap = k->cap ? k->cap * 2 : 4, *rows = mem_alloc(cap * sizeof *rows);

			m->key_bytes += (cap - k->cap) * sizeof *rows;
			if (k->len)
				memcpy(rows, k->rows + k->head, k->len * sizeof *rows);
			mem_free(k->rows);
			k->rows = rows;
			k->cap = cap;
		}
		k->head = 0;
	}
	k->rows[k->head + k->len++] = stored;
}

static uint64_t end_of(const struct match_key *k)
{
	return k->first + k->len;
}

/* Up to here rows may be looked at: behind them are as many as next() asks for. */
static uint64_t ready_of(const struct smatch *m, const struct match_key *k)
{
	uint64_t end = end_of(k), ahead = m->is_finishing ? 0 : m->plan->ahead;

	return end > ahead ? end - ahead : 0;
}

static int64_t time_of(const struct smatch *m, const struct match_key *k, uint64_t row)
{
	return m->store.time_us[match_key_row(k, row)];
}

/* Rows before the one at which a match is looked for, further back than prev reaches. */
static void let_go(struct smatch *m, struct match_key *k)
{
	uint64_t keep = k->start > m->plan->kept_rows ? k->start - m->plan->kept_rows : 0;

	while (k->len && k->first < keep) {
		rowstore_kill(&m->store, k->rows[k->head++]);
		k->first++;
		k->len--;
	}
}

/* ---- threads ---- */

static void drop_threads(struct smatch *m, struct match_key *k)
{
	for (uint32_t i = 0; i < k->threads_len; i++)
		link_drop(m, k->threads[i].tail);
	k->threads_len = 0;
}

void threads_forget(struct smatch *m, struct match_key *k)
{
	drop_threads(m, k);
	link_drop(m, k->best);
	k->best = LINK_NONE;
}

void threads_clear(struct smatch *m)
{
	mem_free(m->next);
	mem_free(m->stamps);
	mem_free(m->first_tails);
	mem_free(m->is_first);
	mem_free(m->candidates);
	mem_free(m->numbers);
	mem_free(m->ready);
	mem_free(m->listed);
}

/* ---- conditions of rows, for whole columns ---- */

static bool is_true(const struct column *c, uint32_t row)
{
	return column_is_valid(c, row) && column_bool(c, row);
}

/* The columns of conditions over stored rows; those of calls, and what isn't used, are null. */
static void gather(struct smatch *m, const uint32_t *rows, uint32_t n, const bool *uses,
	struct column *out)
{
	const struct match_plan *p = m->plan;
	const struct batch *stored = rowstore_view(&m->store);
	const uint8_t *nulls = ARENA_ARRAY(&m->arena, uint8_t, n / 8 + 1);
	const uint32_t *offsets = ARENA_ARRAY(&m->arena, uint32_t, n + (size_t)1);

	for (size_t i = 0; i < p->condition_schema.fields_len; i++) {
		if (uses[i] && p->condition_columns[i] >= 0)
			column_gather(&stored->columns[p->condition_columns[i]], rows, n, &m->arena, &out[i]);
		else
			out[i] = (struct column){.type = p->condition_schema.fields[i].type, .valid = nulls,
				.offsets = offsets};
	}
}

static size_t first_call(const struct match_plan *p)
{
	return p->condition_schema.fields_len - p->defines.len;
}

/* prev(x, n) and next(x, n): n rows before or behind each in its key, which has them all by now. */
static void gather_beside(struct smatch *m, const struct plan_call *c, const uint32_t *rows,
	const uint64_t *numbers, uint32_t n, struct column *out)
{
	uint32_t *pick = ARENA_ROOM(&m->arena, uint32_t, n + (size_t)1);
	const struct batch *stored = rowstore_view(&m->store);

	for (uint32_t i = 0; i < n; i++)
		pick[i] = match_key_beside(&m->keys[m->store.key[rows[i]]], numbers[i], c->call.shift);
	column_gather(&stored->columns[c->arg], pick, n, &m->arena, out);
}

/* The columns of what is asked of rows alone. */
static struct column *row_columns(struct smatch *m, const uint32_t *rows, const uint64_t *numbers, uint32_t n)
{
	const struct match_plan *p = m->plan;
	struct column *columns = ARENA_ROOM(&m->arena, struct column, p->condition_schema.fields_len + 1);

	gather(m, rows, n, p->row_uses, columns);
	for (size_t i = 0; i < p->defines.len; i++) {
		const struct plan_call *c = &p->defines.items[i];

		if (p->row_uses[first_call(p) + i] && c->call.shift)
			gather_beside(m, c, rows, numbers, n, &columns[first_call(p) + i]);
		else if (p->row_uses[first_call(p) + i])
			column_gather(&rowstore_view(&m->store)->columns[c->arg], rows, n, &m->arena,
				&columns[first_call(p) + i]);
	}
	return columns;
}

/* Sets the masks of rows that have just got their numbers.  One on which a condition fails is told so
 * when it is asked whether it is that variable, which may never be: MATCH_FAILS. */
static int mask_rows(struct smatch *m, const uint32_t *rows, const uint64_t *numbers, uint32_t n,
	struct error *e)
{
	const struct match_plan *p = m->plan;
	struct column *results;
	struct batch b = {.schema = &p->condition_schema, .rows = n};
	uint8_t *failed;
	struct error ignored = ERROR_INIT;

	MEM_GROW(m->masks, m->masks_cap, m->store.len + (size_t)1);
	for (uint32_t i = 0; i < n; i++)
		m->masks[rows[i]] = MATCH_ANY;
	if (!p->by_row)
		return 0;
	b.columns = row_columns(m, rows, numbers, n);
	results = ARENA_ROOM(&m->arena, struct column, program_results(p->by_row) + 1);
	failed = ARENA_ARRAY(&m->arena, uint8_t, n / 8 + (size_t)1);
	if (program_run(p->by_row, &b, results, failed, &ignored) < 0)
		return error_set(e, ignored.code, "%s", ignored.text);
	for (size_t i = 0; i < program_results(p->by_row); i++) {
		uint64_t bit = UINT64_C(1) << p->by_row_variable[i];

		for (uint32_t r = 0; r < n; r++) {
			if (!is_true(&results[i], r))
				m->masks[rows[r]] &= ~bit;
		}
	}
	for (uint32_t r = 0; ignored.code && r < n; r++) {
		if (failed[r / 8] >> (r % 8) & 1)
			m->masks[rows[r]] = MATCH_ANY | MATCH_FAILS;
	}
	return 0;
}

/* What a row of MATCH_FAILS can be, of the variables that its threads want. */
static int ask_again(struct smatch *m, const struct match_key *k, uint32_t row, uint64_t *mask,
	struct error *e)
{
	const struct match_plan *p = m->plan;
	uint64_t wanted = 0;

	for (uint32_t i = 0; i < k->threads_len; i++)
		wanted |= UINT64_C(1) << p->pattern.steps[k->threads[i].step].variable;
	for (; wanted; wanted &= wanted - 1) {
		int variable = __builtin_ctzll(wanted);
		struct batch b = {.schema = &p->condition_schema, .rows = 1};
		struct column result;

		if (!p->by_row_alone[variable])
			continue;
		b.columns = row_columns(m, &row, &k->at, 1);
		if (program_run(p->by_row_alone[variable], &b, &result, NULL, e) < 0)
			return -1;
		if (!is_true(&result, 0))
			*mask &= ~(UINT64_C(1) << variable);
	}
	return 0;
}

/* ---- conditions that look into the match, for lists that end with the row at hand ---- */

static int run_some(struct smatch *m, const struct match_key *k, uint8_t variable, const uint32_t *lists,
	uint32_t n, struct error *e)
{
	const struct match_plan *p = m->plan;
	const bool *uses = p->thread_uses[variable];
	struct column *columns = ARENA_ROOM(&m->arena, struct column, p->condition_schema.fields_len + 1);
	uint32_t *rows = ARENA_ROOM(&m->arena, uint32_t, n + (size_t)1);
	struct batch b = {.schema = &p->condition_schema, .columns = columns, .rows = n};
	struct column result;

	for (uint32_t i = 0; i < n; i++)
		rows[i] = match_key_row(k, k->at);
	gather(m, rows, n, uses, columns);
	for (size_t i = 0; i < p->defines.len; i++) {
		if (!uses[first_call(p) + i])
			continue;
		builder_reset(&m->values[i]);
		if (links_put_call(m, k, i, lists, n, e) < 0)
			return -1;
		columns[first_call(p) + i] = builder_column(&m->values[i]);
	}
	if (program_run(p->by_thread[variable], &b, &result, NULL, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		m->links[lists[i]].holds = is_true(&result, i);
	return 0;
}

static int run_condition(struct smatch *m, const struct match_key *k, uint8_t variable, struct error *e)
{
	size_t most = m->made_len < BATCH_ROWS ? m->made_len : BATCH_ROWS;
	uint32_t *lists = ARENA_ROOM(&m->arena, uint32_t, most + 1), n = 0;

	for (uint32_t i = 0; i < m->made_len; i++) {
		if (m->links[m->made[i]].variable == variable)
			lists[n++] = m->made[i];
		if (n == BATCH_ROWS || (n && i + 1 == m->made_len)) {
			if (run_some(m, k, variable, lists, n, e) < 0)
				return -1;
			n = 0;
		}
	}
	return 0;
}

/* Every thread's list with the row at hand, as far as the row can be what the thread wants. */
static int make_candidates(struct smatch *m, const struct match_key *k, uint32_t row, struct error *e)
{
	const struct match_plan *p = m->plan;
	uint64_t mask = m->masks[row], asked = 0;

	if (p->looks_inside || mask & MATCH_FAILS)
		arena_reset(&m->arena);
	if (mask & MATCH_FAILS && ask_again(m, k, row, &mask, e) < 0)
		return -1;
	links_next_row(m);
	MEM_GROW(m->candidates, m->candidates_cap, k->threads_len + (size_t)1);
	for (uint32_t i = 0; i < k->threads_len; i++) {
		const struct match_thread *t = &k->threads[i];
		const struct pattern_step *s = &p->pattern.steps[t->step];
		bool may = mask >> s->variable & 1;

		m->candidates[i] = may ? link_make(m, t->tail, k->at, s) : LINK_NONE;
		if (may && p->by_thread[s->variable])
			asked |= UINT64_C(1) << s->variable;
	}
	if (p->looks_inside && links_add_row(m, row, e) < 0)
		return -1;
	for (; asked; asked &= asked - 1) {
		if (run_condition(m, k, (uint8_t)__builtin_ctzll(asked), e) < 0)
			return -1;
	}
	return 0;
}

/* ---- one row ---- */

static int refuse_partials(struct smatch *m, uint32_t key, struct error *e)
{
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < m->plan->keys_len; i++) {
		struct column c = keytable_column(m->table, i);

		buf_printf(&text, "%s%s=", i ? ", " : " for ", m->plan->key_names[i]);
		column_put_text(&c, key, 64, &text);
	}
	error_set(e, ERROR_DATA, "more than %u partial matches at once%s", m->options.partials_max,
		buf_cstr(&text));
	buf_clear(&text);
	return error_hint(e, "conditions that exclude each other, a shorter --within, or --partials N");
}

/* Whether a preferred thread of the same future is there. */
static bool is_known(struct smatch *m, uint16_t step, uint32_t tail)
{
	if (m->stamps[step] != m->stamp) {
		m->stamps[step] = m->stamp;
		m->first_tails[step] = tail;
		m->is_first[step] = true;
		return false;
	}
	if (!m->plan->needs[step] || m->first_tails[step] == tail)
		return true;
	if (m->is_first[step])
		links_is_known(m, step, m->first_tails[step]);
	m->is_first[step] = false;
	return links_is_known(m, step, tail);
}

static void add_thread(struct smatch *m, uint32_t *len, uint16_t step, uint32_t tail)
{
	if (is_known(m, step, tail))
		return;
	MEM_GROW(m->next, m->next_cap, *len + (size_t)1);
	if (tail != LINK_NONE)
		m->links[tail].refs++;
	m->next[(*len)++] = (struct match_thread){tail, step};
}

/* Where the list may go on; false: a whole match is among it, and what is less preferred is not
 * looked at any more. */
static bool go_on(struct smatch *m, struct match_key *k, struct pattern_next next, uint32_t tail,
	uint32_t *len)
{
	for (uint32_t i = 0; i < next.len; i++) {
		uint16_t step = next.steps[i];

		if (step != PATTERN_DONE) {
			add_thread(m, len, step, tail);
			continue;
		}
		if (tail == LINK_NONE)
			return true; /* a match of no rows is none */
		link_drop(m, k->best);
		k->best = tail;
		m->links[tail].refs++;
		return false;
	}
	return true;
}

static void take_next(struct smatch *m, struct match_key *k, uint32_t len)
{
	if (len > k->threads_cap) {
		m->key_bytes -= k->threads_cap * sizeof *k->threads;
		k->threads_cap = len < 4 ? 4 : len * 2;
		k->threads = mem_resize(k->threads, k->threads_cap * sizeof *k->threads);
		m->key_bytes += k->threads_cap * sizeof *k->threads;
	}
	if (len)
		memcpy(k->threads, m->next, len * sizeof *k->threads);
	k->threads_len = len;
}

static bool may_begin(const struct smatch *m, const struct match_key *k, uint64_t row)
{
	return m->masks[match_key_row(k, row)] & m->plan->start_mask;
}

static void begin(struct smatch *m, struct match_key *k)
{
	uint32_t len = 0;

	links_next_row(m);
	go_on(m, k, m->plan->pattern.start, LINK_NONE, &len);
	take_next(m, k, len);
	k->tried = k->at + 1;
}

/* A match may begin at the next row, too, if that has been looked at before from an earlier row in
 * vain: so no row is looked at for every row before it.  Not of ever more rows: each would have a thread
 * or more of its own where conditions look inside. */
static void begin_again(struct smatch *m, struct match_key *k, uint32_t *len)
{
	enum { THREADS_AGAIN_MAX = 1024 };

	if (k->at != k->tried || k->at >= k->again || k->best != LINK_NONE ||
		(m->plan->looks_inside && *len >= THREADS_AGAIN_MAX))
		return;
	k->tried++;
	if (may_begin(m, k, k->at))
		go_on(m, k, m->plan->pattern.start, LINK_NONE, len);
}

/* The row at hand of every thread: those that may not have it end. */
static int take_row(struct smatch *m, uint32_t key, struct error *e)
{
	struct match_key *k = &m->keys[key];
	const struct pattern *pattern = &m->plan->pattern;
	uint32_t len = 0;
	bool goes_on = true;

	if (make_candidates(m, k, match_key_row(k, k->at), e) < 0)
		return -1;
	for (uint32_t i = 0; i < k->threads_len; i++) {
		uint32_t list = m->candidates[i];

		if (goes_on && list != LINK_NONE && m->links[list].holds)
			goes_on = go_on(m, k, pattern->steps[k->threads[i].step].next, list, &len);
		link_drop(m, k->threads[i].tail);
	}
	for (uint32_t i = 0; i < m->made_len; i++)
		link_drop(m, m->made[i]);
	k->threads_len = 0;
	k->at++;
	if (goes_on)
		begin_again(m, k, &len);
	take_next(m, k, len);
	if (len <= m->options.partials_max)
		return match_check_growth(m, e);
	if (k->tried == k->start + 1)
		return refuse_partials(m, key, e);
	/* Of several rows at once: they are looked for one after the other. */
	threads_forget(m, k);
	k->at = k->start;
	k->again = 0;
	return 0;
}

/* ---- matches ---- */

/* Where the next match is looked for, behind path[0 .. n). */
static int find_start(struct smatch *m, const struct match_key *k, uint32_t n, uint64_t *out,
	struct error *e)
{
	const struct match_row *found = NULL;
	bool is_first = m->options.after == AFTER_FIRST_OF;

	if (m->options.after == AFTER_LAST_ROW) {
		*out = m->path[n - 1].row + 1;
		return 0;
	}
	*out = m->path[0].row + 1;
	if (m->options.after == AFTER_NEXT_ROW)
		return 0;
	for (uint32_t i = 0; i < n && !(found && is_first); i++) {
		if (m->plan->after_mask >> m->path[i].variable & 1)
			found = &m->path[i];
	}
	if (!found)
		return error_set(e, ERROR_DATA, "--after-match: no row of a match is %s",
			m->options.after_variable);
	if (found->row == m->path[0].row)
		return error_set(e, ERROR_DATA, "--after-match: the match begins with %s, so the next one "
			"would be the same again", m->options.after_variable);
	*out = found->row;
	return 0;
}

/* Nothing preferred can come any more: gives out what there is, and looks on behind it. */
static int settle(struct smatch *m, uint32_t key, struct error *e)
{
	struct match_key *k = &m->keys[key];
	uint64_t start = k->tried;

	if (k->best != LINK_NONE) {
		uint32_t n = links_unfold(m, k->best);

		k->matches++;
		if (found_put(m, key, n, e) < 0 || find_start(m, k, n, &start, e) < 0)
			return -1;
		k = &m->keys[key];
	}
	threads_forget(m, k);
	k->again = m->options.has_within ? 0 : k->at; /* threads of several rows don't end together */
	k->start = k->at = start;
	let_go(m, k);
	return 0;
}

static bool is_over(const struct smatch *m, const struct match_key *k)
{
	return m->options.has_within && k->at > k->start &&
		time_of(m, k, k->at) - time_of(m, k, k->start) > m->options.within_us;
}

/* A match has begun, or may begin with a row that waits for those behind it. */
static bool is_pending(const struct smatch *m, const struct match_key *k)
{
	return k->at > k->start || (m->plan->ahead && k->at < end_of(k));
}

static void list_key(struct smatch *m, uint32_t key)
{
	struct match_key *k = &m->keys[key];

	if (k->is_listed || !is_pending(m, k))
		return;
	MEM_GROW(m->listed, m->listed_cap, m->listed_len + (size_t)1);
	m->listed[m->listed_len++] = key;
	k->is_listed = true;
}

/* As far as rows before `until` allow. */
static int drive(struct smatch *m, uint32_t key, uint64_t until, struct error *e)
{
	struct match_key *k = &m->keys[key];

	while (k->at < until) {
		if (k->at == k->start) {
			/* Most rows begin nothing. */
			if (!may_begin(m, k, k->at)) {
				k->start = ++k->at;
				continue;
			}
			begin(m, k);
		}
		if (!is_over(m, k) && k->threads_len && take_row(m, key, e) < 0)
			return -1;
		if ((!k->threads_len || (k->at < until && is_over(m, k))) && settle(m, key, e) < 0)
			return -1;
		k = &m->keys[key];
	}
	let_go(m, k);
	list_key(m, key);
	return 0;
}

/* ---- all keys ---- */

/* Rows whose turn it is, with their numbers. */
static int look_at(struct smatch *m, const uint32_t *rows, const uint64_t *numbers, uint32_t n,
	struct error *e)
{
	if (mask_rows(m, rows, numbers, n, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (drive(m, m->store.key[rows[i]], numbers[i] + 1, e) < 0)
			return -1;
	}
	return 0;
}

/* It is the turn of the rows that have enough behind them now. */
static int look_behind(struct smatch *m, const uint32_t *rows, uint64_t *numbers, uint32_t n,
	struct error *e)
{
	uint32_t len = 0, ahead = m->plan->ahead;

	MEM_GROW(m->ready, m->ready_cap, n + (size_t)1);
	for (uint32_t i = 0; i < n; i++) {
		m->masks[rows[i]] = 0;
		list_key(m, m->store.key[rows[i]]);
		if (numbers[i] < ahead)
			continue;
		m->ready[len] = match_key_row(&m->keys[m->store.key[rows[i]]], numbers[i] - ahead);
		numbers[len++] = numbers[i] - ahead;
	}
	return look_at(m, m->ready, numbers, len, e);
}

int threads_feed(struct smatch *m, const uint32_t *rows, uint32_t n, struct error *e)
{
	uint64_t *numbers;

	arena_reset(&m->arena);
	MEM_GROW(m->numbers, m->numbers_cap, n + (size_t)1);
	numbers = m->numbers;
	for (uint32_t i = 0; i < n; i++) {
		struct match_key *k = &m->keys[m->store.key[rows[i]]];

		numbers[i] = end_of(k);
		match_key_push(m, k, rows[i]);
	}
	return m->plan->ahead ? look_behind(m, rows, numbers, n, e) : look_at(m, rows, numbers, n, e);
}

struct listed {
	int64_t time_us;
	uint64_t number; /* of the row in its key */
	uint32_t row, key;
};

static int compare_listed(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* The row at which the earliest match that may still come begins.  Nothing before it is alive, though
 * k->start may be further back. */
static uint64_t earliest_row(const struct smatch *m, const struct match_key *k)
{
	uint32_t i = k->threads_len ? k->threads[0].tail : k->best;

	if (i == LINK_NONE)
		return k->threads_len ? k->at : k->start;
	while (m->links[i].prev != LINK_NONE)
		i = m->links[i].prev;
	return m->links[i].row;
}

/* By the rows with which matches may begin: an order that a restore keeps. */
static void order_listed(struct smatch *m)
{
	struct listed *all = mem_alloc((m->listed_len + (size_t)1) * sizeof *all);

	for (uint32_t i = 0; i < m->listed_len; i++) {
		const struct match_key *k = &m->keys[m->listed[i]];

		all[i].key = m->listed[i];
		all[i].number = earliest_row(m, k);
		all[i].row = match_key_row(k, all[i].number);
		all[i].time_us = all[i].row == ROW_NONE ? INT64_MAX : m->store.time_us[all[i].row];
	}
	qsort(all, m->listed_len, sizeof *all, compare_listed);
	for (uint32_t i = 0; i < m->listed_len; i++)
		m->listed[i] = all[i].key;
	mem_free(all);
}

/* Whether --within ends what has begun in a key: no row that has come can belong to it either. */
static bool is_past(const struct smatch *m, const struct match_key *k, int64_t until_us)
{
	int64_t start_us = time_of(m, k, k->start);

	return until_us - start_us >= m->options.within_us &&
		(k->at == end_of(k) || time_of(m, k, k->at) - start_us > m->options.within_us);
}

/* Settles the keys whose matches can't grow: all, or those that --within ends. */
static int settle_listed(struct smatch *m, bool all, int64_t until_us, struct error *e)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < m->listed_len; i++) {
		uint32_t key = m->listed[i];
		struct match_key *k = &m->keys[key];

		while (k->at > k->start && (all || is_past(m, k, until_us))) {
			if (settle(m, key, e) < 0 || drive(m, key, ready_of(m, &m->keys[key]), e) < 0)
				return -1;
			k = &m->keys[key];
		}
		k->is_listed = is_pending(m, k);
		if (k->is_listed)
			m->listed[left++] = key;
	}
	m->listed_len = left;
	return 0;
}

int threads_expire(struct smatch *m, int64_t until_us, struct error *e)
{
	return m->options.has_within ? settle_listed(m, false, until_us, e) : 0;
}

int threads_resume(struct smatch *m, struct error *e)
{
	for (uint32_t i = 0; i < m->keys_len; i++) {
		if (drive(m, i, ready_of(m, &m->keys[i]), e) < 0)
			return -1;
	}
	return 0;
}

/* The last rows of keys, behind which there are too few for next(), which is null then. */
static int look_at_last(struct smatch *m, struct error *e)
{
	struct listed *last = NULL;
	size_t len = 0, cap = 0;
	uint32_t n = 0;
	int status = 0;

	m->is_finishing = true;
	for (uint32_t i = 0; i < m->listed_len; i++) {
		const struct match_key *k = &m->keys[m->listed[i]];

		for (uint64_t row = k->at; row < end_of(k); row++) {
			MEM_GROW(last, cap, len + 1);
			last[len++] = (struct listed){time_of(m, k, row), row, match_key_row(k, row),
				m->listed[i]};
		}
	}
	if (len)
		qsort(last, len, sizeof *last, compare_listed);
	MEM_GROW(m->ready, m->ready_cap, BATCH_ROWS);
	MEM_GROW(m->numbers, m->numbers_cap, BATCH_ROWS);
	for (size_t i = 0; i < len && status == 0; i++) {
		m->ready[n] = last[i].row;
		m->numbers[n++] = last[i].number;
		if (n < BATCH_ROWS && i + 1 < len)
			continue;
		arena_reset(&m->arena);
		status = look_at(m, m->ready, m->numbers, n, e);
		n = 0;
	}
	mem_free(last);
	return status;
}

int threads_finish(struct smatch *m, struct error *e)
{
	if (m->plan->ahead && look_at_last(m, e) < 0)
		return -1;
	order_listed(m);
	return settle_listed(m, true, 0, e);
}

int64_t threads_earliest(const struct smatch *m)
{
	int64_t least = INT64_MAX;

	for (uint32_t i = 0; i < m->listed_len; i++) {
		const struct match_key *k = &m->keys[m->listed[i]];
		int64_t us = is_pending(m, k) ? time_of(m, k, k->start) : INT64_MAX;

		least = us < least ? us : least;
	}
	return least;
}
