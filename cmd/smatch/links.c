/* Rows of matches that have begun, as lists that threads share; and what conditions ask of a list. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"

#include <string.h>

/* ---- lists ---- */

static uint32_t link_new(struct smatch *m)
{
	uint32_t i = m->links_free, masks = (uint32_t)m->plan->masks_len, fronts = (uint32_t)m->plan->fronts_len;
	size_t cap = m->links_cap;

	if (i != LINK_NONE) {
		m->links_free = m->links[i].prev;
		return i;
	}
	MEM_GROW(m->links, m->links_cap, m->links_len + (size_t)1);
	if (m->links_cap != cap && masks)
		m->seen = mem_resize(m->seen, m->links_cap * masks * sizeof *m->seen);
	if (m->links_cap != cap && fronts)
		m->fronts = mem_resize(m->fronts, m->links_cap * fronts * sizeof *m->fronts);
	return m->links_len++;
}

void link_drop(struct smatch *m, uint32_t i)
{
	while (i != LINK_NONE && --m->links[i].refs == 0) {
		uint32_t prev = m->links[i].prev;

		m->links[i].prev = m->links_free;
		m->links_free = i;
		i = prev;
	}
}

uint32_t links_unfold(struct smatch *m, uint32_t tail)
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

size_t links_bytes(const struct smatch *m)
{
	size_t bytes = m->links_cap * (sizeof *m->links + m->plan->masks_len * sizeof *m->seen +
		m->plan->fronts_len * sizeof *m->fronts);

	for (size_t i = 0; i < m->plan->defines.len; i++) {
		if (m->plan->defines.items[i].is_kept)
			bytes += aggregate_bytes(m->running[i]);
	}
	return bytes;
}

void links_clear(struct smatch *m)
{
	mem_free(m->links);
	mem_free(m->seen);
	mem_free(m->fronts);
	mem_free(m->made);
	mem_free(m->known);
	mem_free(m->path);
}

/* ---- what is kept with every list, so that a condition costs as much as its expression ---- */

/* A place for what is looked up within one row.  There is always room. */
static struct match_known *known_slot(struct smatch *m, uint64_t hash)
{
	size_t at = hash & (m->known_cap - 1);

	while (m->known[at].stamp == m->stamp && m->known[at].hash != hash)
		at = (at + 1) & (m->known_cap - 1);
	return &m->known[at];
}

static struct match_known *known_next(struct smatch *m, struct match_known *k)
{
	size_t at = (size_t)(k - m->known);

	do
		at = (at + 1) & (m->known_cap - 1);
	while (m->known[at].stamp == m->stamp && m->known[at].hash != k->hash);
	return &m->known[at];
}

static void known_put(struct smatch *m, struct match_known *slot, struct match_known entry)
{
	size_t cap = m->known_cap;
	struct match_known *old = m->known;

	entry.stamp = m->stamp;
	*slot = entry;
	if (++m->known_len <= cap / 2)
		return;
	m->known_cap = 2 * cap;
	m->known = mem_zero(m->known_cap * sizeof *m->known);
	for (size_t i = 0; i < cap; i++) {
		size_t at = old[i].hash & (m->known_cap - 1);

		if (old[i].stamp != m->stamp)
			continue;
		while (m->known[at].stamp == m->stamp)
			at = (at + 1) & (m->known_cap - 1);
		m->known[at] = old[i];
	}
	mem_free(old);
}

void links_next_row(struct smatch *m)
{
	enum { KNOWN_MIN = 64 };

	m->made_len = 0;
	m->first_kid = LINK_NONE;
	m->known_len = 0;
	if (!m->known) {
		m->known_cap = KNOWN_MIN;
		m->known = mem_zero(m->known_cap * sizeof *m->known);
	}
	if (++m->stamp)
		return;
	/* Once round: what is older than that must not be taken for new. */
	memset(m->known, 0, m->known_cap * sizeof *m->known);
	memset(m->stamps, 0, (m->plan->pattern.steps_len + 1) * sizeof *m->stamps);
	for (uint32_t i = 0; i < m->links_len; i++)
		m->links[i].kids_stamp = 0;
	m->stamp = 1;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* The number of the sequence that comes of another by the row at hand: equal ones have one number. */
static uint64_t longer_sequence(struct smatch *m, size_t mask, uint64_t before)
{
	uint64_t hash = mix(before * PATTERN_VARIABLES_MAX + mask + 1);
	struct match_known *k = known_slot(m, hash);

	for (; k->stamp == m->stamp; k = known_next(m, k)) {
		if (k->is_sequence && k->before == before && k->which == mask)
			return k->sequence;
	}
	m->sequences++;
	known_put(m, k, (struct match_known){.hash = hash, .is_sequence = true, .before = before,
		.which = (uint32_t)mask, .sequence = m->sequences});
	return m->sequences;
}

static const struct match_seen *seen_of(const struct smatch *m, uint32_t tail, size_t mask)
{
	static const struct match_seen none = {.near = LINK_NONE};

	return tail == LINK_NONE ? &none : &m->seen[tail * m->plan->masks_len + mask];
}

static void fill(struct smatch *m, uint32_t link, uint32_t prev, uint8_t variable)
{
	const struct match_plan *p = m->plan;
	uint32_t *fronts = m->fronts + link * p->fronts_len;

	for (size_t i = 0; i < p->masks_len; i++) {
		struct match_seen s = *seen_of(m, prev, i);

		if (p->masks[i] >> variable & 1) {
			s.near = link;
			s.count++;
			s.sequence = longer_sequence(m, i, s.sequence);
		}
		m->seen[link * p->masks_len + i] = s;
	}
	for (size_t i = 0; i < p->fronts_len; i++) {
		const struct match_front *f = &p->fronts[i];
		bool is_it = (p->masks[f->mask] >> variable & 1) &&
			seen_of(m, link, f->mask)->count == f->offset + 1;

		fronts[i] = is_it ? link : prev == LINK_NONE ? LINK_NONE : m->fronts[prev * p->fronts_len + i];
	}
}

uint32_t link_make(struct smatch *m, uint32_t prev, uint64_t row, const struct pattern_step *s)
{
	uint32_t i = prev == LINK_NONE ? m->first_kid
		: m->links[prev].kids_stamp == m->stamp ? m->links[prev].kids : LINK_NONE;
	uint32_t first = i;

	for (; i != LINK_NONE; i = m->links[i].sibling) {
		if (m->links[i].variable == s->variable && m->links[i].excluded == s->excluded)
			return i;
	}
	i = link_new(m);
	m->links[i] = (struct match_link){.prev = prev, .refs = 1, .row = row, .variable = s->variable,
		.excluded = s->excluded, .holds = true, .sibling = first};
	if (prev == LINK_NONE) {
		m->first_kid = i;
	} else {
		m->links[prev].refs++;
		m->links[prev].kids = i;
		m->links[prev].kids_stamp = m->stamp;
	}
	MEM_GROW(m->made, m->made_cap, m->made_len + (size_t)1);
	m->made[m->made_len++] = i;
	if (m->plan->masks_len)
		fill(m, i, prev, s->variable);
	return i;
}

/* ---- aggregates: a group of each for every list, that of list i is i + 1; 0 stays empty ---- */

static bool is_true(const struct column *c, uint32_t row)
{
	return column_is_valid(c, row) && column_bool(c, row);
}

static uint32_t group_of(const struct match_seen *s)
{
	return s->near == LINK_NONE ? 0 : s->near + 1;
}

/* The aggregate over each list that was made for the row at hand, from that of the list before. */
static int add_row(struct smatch *m, size_t call, uint32_t row, struct error *e)
{
	const struct plan_call *c = &m->plan->defines.items[call];
	const struct batch *stored = rowstore_view(&m->store);
	uint32_t *to = ARENA_ROOM(&m->arena, uint32_t, m->made_len + (size_t)1);
	uint32_t *from = ARENA_ROOM(&m->arena, uint32_t, m->made_len + (size_t)1);
	uint32_t *pick = ARENA_ROOM(&m->arena, uint32_t, m->made_len + (size_t)1), n = 0;
	int64_t *order = ARENA_ROOM(&m->arena, int64_t, m->made_len + (size_t)1);
	struct aggregate_rows rows = {.groups = to, .order = order};
	struct aggregate *a = m->running[call];
	struct column args[AGGREGATE_ARGS_MAX];

	aggregate_resize(a, m->links_len + 1);
	for (uint32_t i = 0; i < m->made_len; i++) {
		const struct match_link *l = &m->links[m->made[i]];

		if (!(c->call.of >> l->variable & 1))
			continue;
		aggregate_clear_group(a, m->made[i] + 1);
		to[n] = m->made[i] + 1;
		from[n] = group_of(seen_of(m, l->prev, c->mask));
		order[n] = (int64_t)l->row;
		pick[n++] = row;
	}
	if (!n)
		return 0;
	if (aggregate_combine(a, to, a, from, n, e) < 0)
		return -1;
	if (c->filtered && !is_true(&stored->columns[c->filter], row))
		return 0;
	for (size_t i = 0; i < c->args_len; i++)
		column_gather(&stored->columns[c->args[i]], pick, n, &m->arena, &args[i]);
	rows.rows = n;
	return aggregate_update(a, args, &rows, e);
}

int links_add_row(struct smatch *m, uint32_t row, struct error *e)
{
	for (size_t i = 0; i < m->plan->defines.len; i++) {
		if (m->plan->defines.items[i].is_kept && add_row(m, i, row, e) < 0)
			return -1;
	}
	return 0;
}

/* What keeps all values has no place in every list: it is made anew, of the rows from the end back. */
static int run_aggregate(struct smatch *m, const struct match_key *k, size_t call, uint32_t tail,
	struct column_builder *out, struct error *e)
{
	const struct plan_call *c = &m->plan->defines.items[call];
	const struct match_seen *s = seen_of(m, tail, c->mask);
	const struct batch *stored = rowstore_view(&m->store);
	uint32_t *pick = ARENA_ROOM(&m->arena, uint32_t, s->count + (size_t)1), len = s->count;
	int64_t *order = ARENA_ROOM(&m->arena, int64_t, s->count + (size_t)1);
	struct column args[AGGREGATE_ARGS_MAX];
	struct aggregate *a = m->running[call];
	struct aggregate_rows rows = {.order = order};

	for (uint32_t i = s->near; i != LINK_NONE; i = seen_of(m, m->links[i].prev, c->mask)->near) {
		uint32_t row = match_key_row(k, m->links[i].row);

		if (!c->filtered || is_true(&stored->columns[c->filter], row))
			pick[--len] = row;
	}
	pick += len;
	rows.rows = s->count - len;
	for (uint32_t i = 0; i < rows.rows; i++)
		order[i] = i;
	for (size_t i = 0; i < c->args_len; i++)
		column_gather(&stored->columns[c->args[i]], pick, rows.rows, &m->arena, &args[i]);
	aggregate_reset(a);
	aggregate_resize(a, 1);
	if (rows.rows && aggregate_update(a, args, &rows, e) < 0)
		return -1;
	return aggregate_finalize(a, NULL, 1, out, e);
}

/* ---- values of calls ---- */

/* The list's row that a call means, as the list that ends with it. */
static uint32_t find_link(const struct smatch *m, const struct plan_call *c, uint32_t tail)
{
	uint32_t i;

	if (c->call.from_first)
		return tail == LINK_NONE ? LINK_NONE : m->fronts[tail * m->plan->fronts_len + c->front];
	i = seen_of(m, tail, c->mask)->near;
	for (int64_t left = c->call.offset; left && i != LINK_NONE; left--)
		i = seen_of(m, m->links[i].prev, c->mask)->near;
	return i;
}

static uint32_t find_row(const struct smatch *m, const struct match_key *k, const struct plan_call *c,
	uint32_t tail)
{
	uint32_t i = find_link(m, c, tail);

	return i == LINK_NONE ? ROW_NONE : match_key_beside(k, m->links[i].row, c->call.shift);
}

int links_put_call(struct smatch *m, const struct match_key *k, size_t call, const uint32_t *lists,
	uint32_t n, struct error *e)
{
	const struct plan_call *c = &m->plan->defines.items[call];
	struct column_builder *out = &m->values[call];
	uint32_t *groups;

	if (c->is_kept) {
		groups = ARENA_ROOM(&m->arena, uint32_t, n + (size_t)1);
		for (uint32_t i = 0; i < n; i++)
			groups[i] = group_of(seen_of(m, lists[i], c->mask));
		return aggregate_finalize(m->running[call], groups, n, out, e);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t row;

		if (c->call.kind == MATCH_AGGREGATE) {
			if (run_aggregate(m, k, call, lists[i], out, e) < 0)
				return -1;
			continue;
		}
		row = find_row(m, k, c, lists[i]);
		if (row == ROW_NONE)
			builder_put_null(out);
		else
			builder_put_from(out, &rowstore_view(&m->store)->columns[c->arg], row);
	}
	return 0;
}

/* ---- lists that can't be told apart any more ---- */

/* What a call will ever say of a list and of what grows of it: of lists with the same number, the
 * same. */
static uint64_t future_of(const struct smatch *m, const struct plan_call *c, uint32_t tail)
{
	const struct match_seen *s = seen_of(m, tail, c->mask);
	uint32_t link;

	if (c->call.kind == MATCH_AGGREGATE)
		return c->is_count ? s->count : s->sequence;
	if (!c->call.from_first && c->call.offset)
		return s->sequence;
	link = find_link(m, c, tail);
	if (link == LINK_NONE)
		return UINT64_C(1) << 63 | s->count;
	return m->links[link].row;
}

static const struct plan_call *asked_call(const struct smatch *m, uint64_t bits)
{
	return &m->plan->defines.items[m->plan->asked[__builtin_ctzll(bits)]];
}

static bool is_alike(const struct smatch *m, uint64_t calls, uint32_t a, uint32_t b)
{
	for (; calls && a != b; calls &= calls - 1) {
		const struct plan_call *c = asked_call(m, calls);

		if (future_of(m, c, a) != future_of(m, c, b))
			return false;
	}
	return true;
}

bool links_is_known(struct smatch *m, uint16_t step, uint32_t tail)
{
	uint64_t calls = m->plan->needs[step], hash = step + UINT64_C(1);
	struct match_known *k;

	for (uint64_t left = calls; left; left &= left - 1)
		hash = mix(hash + future_of(m, asked_call(m, left), tail));
	k = known_slot(m, hash);
	for (; k->stamp == m->stamp; k = known_next(m, k)) {
		if (!k->is_sequence && k->which == step && is_alike(m, calls, k->tail, tail))
			return true;
	}
	known_put(m, k, (struct match_known){.hash = hash, .which = step, .tail = tail});
	return false;
}
