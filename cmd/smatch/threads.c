/* Ordered rows in, matches out. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

/* ---- rows of a key ---- */

uint32_t match_key_row(const struct match_key *k, uint64_t row)
{
	return row >= k->first && row - k->first < k->len ? k->rows[k->head + (row - k->first)] : ROW_NONE;
}

void match_key_push(struct match_key *k, uint32_t stored)
{
	if (k->head + k->len == k->cap) {
		if (k->head && k->head >= k->cap / 2) {
			memmove(k->rows, k->rows + k->head, k->len * sizeof *k->rows);
		} else {
			uint32_t cap = k->cap ? k->cap * 2 : 4, *rows = mem_alloc(cap * sizeof *rows);

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

/* ---- lists of rows that threads share ---- */

static uint32_t link_new(struct smatch *m, uint32_t prev, uint64_t row, const struct pattern_step *s)
{
	uint32_t i = m->links_free;

	if (i != LINK_NONE) {
		m->links_free = m->links[i].prev;
	} else {
		MEM_GROW(m->links, m->links_cap, m->links_len + (size_t)1);
		i = m->links_len++;
	}
	if (prev != LINK_NONE)
		m->links[prev].refs++;
	m->links[i] = (struct match_link){.prev = prev, .refs = 1, .row = row, .variable = s->variable,
		.excluded = s->excluded};
	return i;
}

static void link_drop(struct smatch *m, uint32_t i)
{
	while (i != LINK_NONE && --m->links[i].refs == 0) {
		uint32_t prev = m->links[i].prev;

		m->links[i].prev = m->links_free;
		m->links_free = i;
		i = prev;
	}
}

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
	k->is_empty = false;
}

void threads_clear(struct smatch *m)
{
	mem_free(m->links);
	mem_free(m->next);
	mem_free(m->stamps);
	mem_free(m->holds);
	mem_free(m->path);
	mem_free(m->numbers);
	mem_free(m->listed);
}

/* The rows of a list in order, into m->path; their number. */
static uint32_t unfold(struct smatch *m, uint32_t tail)
{
	uint32_t n = 0;

	for (uint32_t i = tail; i != LINK_NONE; i = m->links[i].prev)
		n++;
	MEM_GROW(m->path, m->path_cap, n + (size_t)1);
	for (uint32_t i = tail, at = n; i != LINK_NONE; i = m->links[i].prev)
		m->path[--at] = (struct match_row){m->links[i].row, m->links[i].variable,
			m->links[i].excluded};
	return n;
}

/* ---- conditions of rows, for whole columns ---- */

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

/* prev(x, n): n rows before each in its key, which has them all by now. */
static void gather_before(struct smatch *m, const struct plan_call *c, const uint32_t *rows,
	const uint64_t *numbers, uint32_t n, struct column *out)
{
	uint32_t *pick = ARENA_ARRAY(&m->arena, uint32_t, n + (size_t)1);
	const struct batch *stored = rowstore_view(&m->store);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t back = (uint64_t)-c->call.shift;

		pick[i] = numbers[i] < back ? ROW_NONE
			: match_key_row(&m->keys[m->store.key[rows[i]]], numbers[i] - back);
	}
	column_gather(&stored->columns[c->arg], pick, n, &m->arena, out);
}

static bool is_true(const struct column *c, uint32_t row)
{
	return column_is_valid(c, row) && column_bool(c, row);
}

/* Sets the masks of rows that have just got their numbers. */
static int mask_rows(struct smatch *m, const uint32_t *rows, const uint64_t *numbers, uint32_t n,
	struct error *e)
{
	const struct match_plan *p = m->plan;
	size_t fields = p->condition_schema.fields_len;
	struct column *columns = ARENA_ARRAY(&m->arena, struct column, fields + 1);
	struct column *results;
	struct batch b = {.schema = &p->condition_schema, .rows = n, .columns = columns};

	MEM_GROW(m->masks, m->masks_cap, m->store.len + (size_t)1);
	for (uint32_t i = 0; i < n; i++)
		m->masks[rows[i]] = UINT64_MAX;
	if (!p->by_row)
		return 0;
	gather(m, rows, n, p->row_uses, columns);
	for (size_t i = 0; i < p->defines.len; i++) {
		const struct plan_call *c = &p->defines.items[i];

		if (p->row_uses[first_call(p) + i] && c->call.shift)
			gather_before(m, c, rows, numbers, n, &columns[first_call(p) + i]);
		else if (p->row_uses[first_call(p) + i])
			column_gather(&rowstore_view(&m->store)->columns[c->arg], rows, n, &m->arena,
				&columns[first_call(p) + i]);
	}
	results = ARENA_ARRAY(&m->arena, struct column, program_results(p->by_row) + 1);
	if (program_run(p->by_row, &b, results, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < program_results(p->by_row); i++) {
		uint64_t bit = UINT64_C(1) << p->by_row_variable[i];

		for (uint32_t r = 0; r < n; r++) {
			if (!is_true(&results[i], r))
				m->masks[rows[r]] &= ~bit;
		}
	}
	return 0;
}

/* ---- conditions that look into the match, a thread at a time ---- */

/* The aggregate of a define over the path. */
static int run_aggregate(struct smatch *m, const struct match_key *k, size_t call, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct plan_call *c = &m->plan->defines.items[call];
	const struct batch *stored = rowstore_view(&m->store);
	uint32_t *pick = ARENA_ARRAY(&m->arena, uint32_t, n + (size_t)1), len = 0;
	int64_t *order = ARENA_ARRAY(&m->arena, int64_t, n + (size_t)1);
	struct column args[AGGREGATE_ARGS_MAX];
	struct aggregate *a = m->running[call];
	struct aggregate_rows rows = {.order = order};

	for (uint32_t i = 0; i < n; i++) {
		uint32_t row = match_key_row(k, m->path[i].row);
		const struct column *filter = &stored->columns[c->filter];

		if (!(c->call.of >> m->path[i].variable & 1) || (c->filtered && !is_true(filter, row)))
			continue;
		order[len] = len;
		pick[len++] = row;
	}
	for (size_t i = 0; i < c->args_len; i++)
		column_gather(&stored->columns[c->args[i]], pick, len, &m->arena, &args[i]);
	rows.rows = len;
	aggregate_reset(a);
	aggregate_resize(a, 1);
	if (len && aggregate_update(a, args, &rows, e) < 0)
		return -1;
	return aggregate_finalize(a, NULL, 1, out, e);
}

/* The values of a condition's calls for one thread, whose path has the row at hand as its last. */
static int put_calls(struct smatch *m, const struct match_key *k, uint32_t n, const bool *uses,
	struct error *e)
{
	const struct match_plan *p = m->plan;
	const struct batch *stored = rowstore_view(&m->store);
	struct match_view view = {.key = k, .path = m->path, .len = n, .last = m->path[n - 1].row};

	for (size_t i = 0; i < p->defines.len; i++) {
		const struct plan_call *c = &p->defines.items[i];
		uint32_t row;

		if (!uses[first_call(p) + i])
			continue;
		if (c->call.kind == MATCH_AGGREGATE) {
			if (run_aggregate(m, k, i, n, &m->values[i], e) < 0)
				return -1;
			continue;
		}
		row = match_view_row(&view, &c->call);
		if (row == ROW_NONE)
			builder_put_null(&m->values[i]);
		else
			builder_put_from(&m->values[i], &stored->columns[c->arg], row);
	}
	return 0;
}

/* Whether threads that want the row to be this variable may have it: m->holds of each. */
static int run_condition(struct smatch *m, const struct match_key *k, uint8_t variable, uint32_t row,
	struct error *e)
{
	const struct match_plan *p = m->plan;
	const bool *uses = p->thread_uses[variable];
	struct column *columns = ARENA_ARRAY(&m->arena, struct column, p->condition_schema.fields_len + 1);
	uint32_t *rows = ARENA_ARRAY(&m->arena, uint32_t, k->threads_len + (size_t)1), n = 0;
	struct batch b = {.schema = &p->condition_schema, .columns = columns};
	struct column result;

	for (size_t i = 0; i < p->defines.len; i++)
		builder_reset(&m->values[i]);
	for (uint32_t i = 0; i < k->threads_len; i++) {
		const struct pattern_step *s = &p->pattern.steps[k->threads[i].step];
		uint32_t len;

		if (s->variable != variable)
			continue;
		rows[n++] = row;
		len = unfold(m, k->threads[i].tail);
		m->path[len] = (struct match_row){k->at, variable, false};
		if (put_calls(m, k, len + 1, uses, e) < 0)
			return -1;
	}
	gather(m, rows, n, uses, columns);
	for (size_t i = 0; i < p->defines.len; i++) {
		if (uses[first_call(p) + i])
			columns[first_call(p) + i] = builder_column(&m->values[i]);
	}
	b.rows = n;
	if (program_run(p->by_thread[variable], &b, &result, NULL, e) < 0)
		return -1;
	for (uint32_t i = 0, at = 0; i < k->threads_len; i++) {
		if (p->pattern.steps[k->threads[i].step].variable == variable)
			m->holds[i] = is_true(&result, at++);
	}
	return 0;
}

/* m->holds for all threads of a key and its row at hand. */
static int check_threads(struct smatch *m, const struct match_key *k, uint32_t row, struct error *e)
{
	const struct match_plan *p = m->plan;
	uint64_t asked = 0;

	MEM_GROW(m->holds, m->holds_cap, k->threads_len + (size_t)1);
	for (uint32_t i = 0; i < k->threads_len; i++) {
		uint8_t variable = p->pattern.steps[k->threads[i].step].variable;

		m->holds[i] = m->masks[row] >> variable & 1;
		if (m->holds[i] && p->by_thread[variable])
			asked |= UINT64_C(1) << variable;
	}
	for (; asked; asked &= asked - 1) {
		if (run_condition(m, k, (uint8_t)__builtin_ctzll(asked), row, e) < 0)
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

static void add_thread(struct smatch *m, uint32_t *len, uint16_t step, uint32_t tail)
{
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

		if (step == PATTERN_DONE) {
			link_drop(m, k->best);
			k->best = tail;
			k->is_empty = tail == LINK_NONE;
			if (tail != LINK_NONE)
				m->links[tail].refs++;
			return false;
		}
		if (!m->plan->looks_inside) {
			if (m->stamps[step] == m->stamp)
				continue;
			m->stamps[step] = m->stamp;
		}
		add_thread(m, len, step, tail);
	}
	return true;
}

static void take_next(struct smatch *m, struct match_key *k, uint32_t len)
{
	if (len > k->threads_cap) {
		k->threads_cap = len < 4 ? 4 : len * 2;
		k->threads = mem_resize(k->threads, k->threads_cap * sizeof *k->threads);
	}
	if (len)
		memcpy(k->threads, m->next, len * sizeof *k->threads);
	k->threads_len = len;
}

static void begin(struct smatch *m, struct match_key *k)
{
	uint32_t len = 0;

	m->stamp++;
	go_on(m, k, m->plan->pattern.start, LINK_NONE, &len);
	take_next(m, k, len);
}

/* The row at hand of every thread: those that may not have it end. */
static int take_row(struct smatch *m, uint32_t key, struct error *e)
{
	struct match_key *k = &m->keys[key];
	const struct pattern *pattern = &m->plan->pattern;
	uint32_t row = match_key_row(k, k->at), len = 0;
	uint64_t mask = m->masks[row];
	bool goes_on = true;

	if (m->plan->looks_inside && check_threads(m, k, row, e) < 0)
		return -1;
	m->stamp++;
	for (uint32_t i = 0; i < k->threads_len; i++) {
		const struct match_thread t = k->threads[i];
		const struct pattern_step *s = &pattern->steps[t.step];
		bool holds = m->plan->looks_inside ? m->holds[i] : mask >> s->variable & 1;

		if (goes_on && holds) {
			uint32_t link = link_new(m, t.tail, k->at, s);

			goes_on = go_on(m, k, s->next, link, &len);
			link_drop(m, link);
		}
		link_drop(m, t.tail);
	}
	k->threads_len = 0;
	take_next(m, k, len);
	k->at++;
	return len > m->options.partials_max ? refuse_partials(m, key, e) : 0;
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
	*out = k->start + 1;
	if (m->options.after == AFTER_NEXT_ROW)
		return 0;
	for (uint32_t i = 0; i < n && !(found && is_first); i++) {
		if (m->plan->after_mask >> m->path[i].variable & 1)
			found = &m->path[i];
	}
	if (!found)
		return error_set(e, ERROR_DATA, "--after-match: no row of a match is %s",
			m->options.after_variable);
	if (found->row == k->start)
		return error_set(e, ERROR_DATA, "--after-match: the match begins with %s, so the next one "
			"would be the same again", m->options.after_variable);
	*out = found->row;
	return 0;
}

/* Nothing preferred can come any more: gives out what there is, and looks on behind it. */
static int settle(struct smatch *m, uint32_t key, struct error *e)
{
	struct match_key *k = &m->keys[key];
	uint64_t start = k->start + 1;

	if (k->best != LINK_NONE) {
		uint32_t n = unfold(m, k->best);

		k->matches++;
		if (found_put(m, key, n, e) < 0 || find_start(m, k, n, &start, e) < 0)
			return -1;
		k = &m->keys[key];
	}
	threads_forget(m, k);
	k->start = k->at = start;
	let_go(m, k);
	return 0;
}

static bool is_over(const struct smatch *m, const struct match_key *k)
{
	return m->options.has_within && k->at > k->start &&
		time_of(m, k, k->at) - time_of(m, k, k->start) > m->options.within_us;
}

static void list_key(struct smatch *m, uint32_t key)
{
	struct match_key *k = &m->keys[key];

	if (k->is_listed || k->at == k->start)
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
			if (!(m->masks[match_key_row(k, k->at)] & m->plan->start_mask)) {
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

int threads_feed(struct smatch *m, const uint32_t *rows, uint32_t n, struct error *e)
{
	uint64_t *numbers;

	arena_reset(&m->arena);
	MEM_GROW(m->numbers, m->numbers_cap, n + (size_t)1);
	numbers = m->numbers;
	for (uint32_t i = 0; i < n; i++) {
		struct match_key *k = &m->keys[m->store.key[rows[i]]];

		numbers[i] = end_of(k);
		match_key_push(k, rows[i]);
	}
	if (mask_rows(m, rows, numbers, n, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (m->plan->looks_inside)
			arena_reset(&m->arena);
		if (drive(m, m->store.key[rows[i]], numbers[i] + 1, e) < 0)
			return -1;
	}
	return 0;
}

/* Settles the keys whose matches can't grow: all, or those that --within ends. */
static int settle_listed(struct smatch *m, bool all, int64_t until_us, struct error *e)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < m->listed_len; i++) {
		uint32_t key = m->listed[i];
		struct match_key *k = &m->keys[key];

		while (k->at > k->start && (all || until_us - time_of(m, k, k->start) >= m->options.within_us)) {
			if (settle(m, key, e) < 0 || drive(m, key, end_of(&m->keys[key]), e) < 0)
				return -1;
			k = &m->keys[key];
		}
		k->is_listed = k->at > k->start;
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
		if (drive(m, i, end_of(&m->keys[i]), e) < 0)
			return -1;
	}
	return 0;
}

int threads_finish(struct smatch *m, struct error *e)
{
	return settle_listed(m, true, 0, e);
}

int64_t threads_earliest(const struct smatch *m)
{
	int64_t least = INT64_MAX;

	for (uint32_t i = 0; i < m->listed_len; i++) {
		const struct match_key *k = &m->keys[m->listed[i]];
		int64_t us = k->at > k->start ? time_of(m, k, k->start) : INT64_MAX;

		least = us < least ? us : least;
	}
	return least;
}
