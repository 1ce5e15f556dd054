#include "libcore/expr/aggregate_bag.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

/* ---- orders ---- */

static int compare_arrival(const struct bag *b, uint32_t x, uint32_t y)
{
	if (b->order[x] != b->order[y])
		return b->order[x] < b->order[y] ? -1 : 1;
	return (b->arrival[x] > b->arrival[y]) - (b->arrival[x] < b->arrival[y]);
}

static int compare_value(const struct bag *b, uint32_t x, uint32_t y)
{
	return cells_compare(&b->value, x, &b->value, y);
}

static int compare_by(const struct bag *b, uint32_t x, uint32_t y)
{
	int order = cells_compare(&b->by, x, &b->by, y);

	if (order)
		return b->descending ? -order : order;
	return compare_arrival(b, x, y);
}

/* What makes two rows equal: value and by. */
static int compare_equal(const struct bag *b, uint32_t x, uint32_t y)
{
	int order = compare_value(b, x, y);

	return order || b->kind != BAG_BY ? order : cells_compare(&b->by, x, &b->by, y);
}

static int compare_index(const struct bag *b, uint32_t x, uint32_t y)
{
	int order = compare_equal(b, x, y);

	return order ? order : compare_arrival(b, x, y);
}

/* A number that is not greater than that of any later value. */
static int64_t key_of(const struct cells *c, uint32_t at)
{
	uint64_t first = 0;
	struct text_view v;

	if (c->ints)
		return c->ints[at];
	if (c->decimals)
		return c->decimals[at] > INT64_MAX   ? INT64_MAX
		       : c->decimals[at] < INT64_MIN ? INT64_MIN
						     : (int64_t)c->decimals[at];
	v = cells_text(c, at);
	if (v.len)
		memcpy(&first, v.text, v.len < sizeof first ? v.len : sizeof first);
	return (int64_t)(__builtin_bswap64(first) ^ (UINT64_C(1) << 63));
}

static void keys_set(struct bag *b, uint32_t node)
{
	int64_t *main = &b->main.links[node].key;

	switch (b->kind) {
	case BAG_VALUES: *main = key_of(&b->value, node); break;
	case BAG_ROWS: *main = b->order[node]; break;
	case BAG_BY: *main = key_of(&b->by, node) ^ (b->descending ? -1 : 0); break;
	}
	if (b->kind != BAG_VALUES)
		b->index.links[node].key = key_of(&b->value, node);
}

static inline int compare(const struct bag *b, const struct bag_tree *t, uint32_t x, uint32_t y)
{
	int64_t a = t->links[x].key, c = t->links[y].key;

	if (a != c)
		return a < c ? -1 : 1;
	return t->compare(b, x, y);
}

/* ---- trees ---- */

/* The finalizer of MurmurHash3: numbers in a row give no order. */
static inline uint32_t priority(uint32_t node)
{
	node ^= node >> 16;
	node *= 0x85ebca6b;
	node ^= node >> 13;
	node *= 0xc2b2ae35;
	return node ^ node >> 16;
}

static inline void recount(struct bag *b, const struct bag_tree *t, uint32_t node)
{
	if (b->counted && t == &b->main)
		b->total[node] = b->count[node] + b->total[t->links[node].left] +
				 b->total[t->links[node].right];
}

/* Everything before the node goes left, everything behind it right. */
static void split(struct bag *b, const struct bag_tree *t, uint32_t root, uint32_t node,
	uint32_t *left, uint32_t *right)
{
	if (!root) {
		*left = *right = 0;
		return;
	}
	if (compare(b, t, root, node) < 0) {
		split(b, t, t->links[root].right, node, &t->links[root].right, right);
		*left = root;
	} else {
		split(b, t, t->links[root].left, node, left, &t->links[root].left);
		*right = root;
	}
	recount(b, t, root);
}

static uint32_t merge(struct bag *b, const struct bag_tree *t, uint32_t left, uint32_t right)
{
	if (!left || !right)
		return left ? left : right;
	if (priority(left) > priority(right)) {
		t->links[left].right = merge(b, t, t->links[left].right, right);
		recount(b, t, left);
		return left;
	}
	t->links[right].left = merge(b, t, left, t->links[right].left);
	recount(b, t, right);
	return right;
}

static uint32_t insert(struct bag *b, const struct bag_tree *t, uint32_t root, uint32_t node)
{
	if (!root || priority(node) > priority(root)) {
		split(b, t, root, node, &t->links[node].left, &t->links[node].right);
		recount(b, t, node);
		return node;
	}
	if (compare(b, t, node, root) < 0)
		t->links[root].left = insert(b, t, t->links[root].left, node);
	else
		t->links[root].right = insert(b, t, t->links[root].right, node);
	recount(b, t, root);
	return root;
}

static uint32_t take_out(struct bag *b, const struct bag_tree *t, uint32_t root, uint32_t node)
{
	MUST(root);
	if (root == node)
		return merge(b, t, t->links[root].left, t->links[root].right);
	if (compare(b, t, node, root) < 0)
		t->links[root].left = take_out(b, t, t->links[root].left, node);
	else
		t->links[root].right = take_out(b, t, t->links[root].right, node);
	recount(b, t, root);
	return root;
}

/* The first node that is not before this one, or 0. */
static uint32_t find_from(
	const struct bag *b, const struct bag_tree *t, uint32_t root, uint32_t node)
{
	uint32_t found = 0;

	while (root) {
		if (compare(b, t, root, node) < 0) {
			root = t->links[root].right;
		} else {
			found = root;
			root = t->links[root].left;
		}
	}
	return found;
}

static bool walk(const struct bag *b, uint32_t root, bool backwards, bag_visit visit, void *context)
{
	if (!root)
		return false;
	/* Links are read again after each visit: it may add nodes elsewhere, which moves them. */
	if (walk(b, backwards ? b->main.links[root].right : b->main.links[root].left, backwards,
		    visit, context) ||
		visit(b, root, context))
		return true;
	return walk(b, backwards ? b->main.links[root].left : b->main.links[root].right, backwards,
		visit, context);
}

/* ---- life ---- */

void bag_init(struct bag *b, enum bag_kind kind, struct type value, struct type by)
{
	*b = (struct bag){.kind = kind, .counted = kind == BAG_VALUES, .nodes = 1};
	cells_init(&b->value, value);
	cells_init(&b->by, by);
	b->index.compare = compare_index;
	switch (kind) {
	case BAG_VALUES: b->main.compare = compare_value; break;
	case BAG_ROWS: b->main.compare = compare_arrival; break;
	case BAG_BY: b->main.compare = compare_by; break;
	}
}

void bag_clear(struct bag *b)
{
	cells_clear(&b->value);
	cells_clear(&b->by);
	mem_free(b->order);
	mem_free(b->arrival);
	mem_free(b->count);
	mem_free(b->total);
	mem_free(b->main.links);
	mem_free(b->main.roots);
	mem_free(b->index.links);
	mem_free(b->index.roots);
}

void bag_reserve(struct bag *b, uint32_t groups)
{
	AGGREGATE_RESERVE(b->main.roots, groups);
	if (b->kind != BAG_VALUES)
		AGGREGATE_RESERVE(b->index.roots, groups);
}

void bag_start(struct bag *b, uint32_t first, uint32_t end)
{
	memset(b->main.roots + first, 0, (end - first) * sizeof *b->main.roots);
	if (b->kind != BAG_VALUES)
		memset(b->index.roots + first, 0, (end - first) * sizeof *b->index.roots);
}

void bag_reset(struct bag *b)
{
	b->nodes = 1;
	b->free = b->debts = 0;
	b->arrivals = 0;
}

static void nodes_reserve(struct bag *b, uint32_t cap)
{
	cells_reserve(&b->value, cap);
	AGGREGATE_RESERVE(b->count, cap);
	AGGREGATE_RESERVE(b->main.links, cap);
	if (b->counted) {
		AGGREGATE_RESERVE(b->total, cap);
		b->total[0] = 0;
	}
	if (b->kind != BAG_VALUES) {
		AGGREGATE_RESERVE(b->order, cap);
		AGGREGATE_RESERVE(b->arrival, cap);
		AGGREGATE_RESERVE(b->index.links, cap);
	}
	if (b->kind == BAG_BY)
		cells_reserve(&b->by, cap);
	b->cap = cap;
}

size_t bag_bytes(const struct bag *b, uint32_t groups)
{
	size_t node = sizeof *b->count + sizeof *b->main.links, group = sizeof *b->main.roots;

	if (b->counted)
		node += sizeof *b->total;
	if (b->kind != BAG_VALUES) {
		node += sizeof *b->order + sizeof *b->arrival + sizeof *b->index.links;
		group += sizeof *b->index.roots;
	}
	return b->cap * node + groups * group + cells_bytes(&b->value) + cells_bytes(&b->by);
}

/* ---- nodes ---- */

uint32_t bag_node(struct bag *b)
{
	uint32_t node = b->free;

	if (node) {
		b->free = b->main.links[node].left;
		return node;
	}
	if (b->nodes == b->cap || !b->cap) {
		enum { NODES_MIN = 16 };

		MUST(b->cap <= UINT32_MAX / 2);
		nodes_reserve(b, b->cap ? b->cap * 2 : NODES_MIN);
	}
	return b->nodes++;
}

static void node_free(struct bag *b, uint32_t node)
{
	cells_drop(&b->value, node);
	if (b->kind == BAG_BY)
		cells_drop(&b->by, node);
	b->main.links[node].left = b->free;
	b->free = node;
}

static void nodes_free(struct bag *b, uint32_t root)
{
	if (!root)
		return;
	nodes_free(b, b->main.links[root].left);
	nodes_free(b, b->main.links[root].right);
	b->debts -= b->count[root] < 0;
	node_free(b, root);
}

void bag_drop(struct bag *b, uint32_t group)
{
	nodes_free(b, b->main.roots[group]);
	bag_start(b, group, group + 1);
}

static void node_insert(struct bag *b, uint32_t group, uint32_t node, int64_t count)
{
	b->count[node] = count;
	b->debts += count < 0;
	b->main.roots[group] = insert(b, &b->main, b->main.roots[group], node);
	if (b->kind != BAG_VALUES)
		b->index.roots[group] = insert(b, &b->index, b->index.roots[group], node);
}

static void node_take_out(struct bag *b, uint32_t group, uint32_t node)
{
	b->debts -= b->count[node] < 0;
	b->main.roots[group] = take_out(b, &b->main, b->main.roots[group], node);
	if (b->kind != BAG_VALUES)
		b->index.roots[group] = take_out(b, &b->index, b->index.roots[group], node);
	node_free(b, node);
}

/* ---- rows ---- */

static void totals_add(struct bag *b, uint32_t group, uint32_t node, int64_t count)
{
	uint32_t at = b->main.roots[group];

	for (;;) {
		b->total[at] += count;
		if (at == node)
			return;
		at = compare(b, &b->main, node, at) < 0 ? b->main.links[at].left
							: b->main.links[at].right;
	}
}

static void value_add(struct bag *b, uint32_t group, uint32_t node, int64_t count)
{
	uint32_t same = find_from(b, &b->main, b->main.roots[group], node);

	if (!same || compare(b, &b->main, same, node) != 0) {
		node_insert(b, group, node, count);
		return;
	}
	node_free(b, node);
	if (b->count[same] + count == 0) {
		node_take_out(b, group, same);
		return;
	}
	b->debts -= b->count[same] < 0;
	b->count[same] += count;
	b->debts += b->count[same] < 0;
	totals_add(b, group, same, count);
}

/* An equal row: of the same order if there is one, else the earliest; 0 if there is none. */
static uint32_t find_equal(struct bag *b, uint32_t group, uint32_t node)
{
	int64_t order = b->order[node];
	uint32_t found;

	b->arrival[node] = 0;
	found = find_from(b, &b->index, b->index.roots[group], node);
	if (found && b->order[found] == order && compare_equal(b, found, node) == 0)
		return found;
	b->order[node] = INT64_MIN;
	found = find_from(b, &b->index, b->index.roots[group], node);
	b->order[node] = order;
	return found && compare_equal(b, found, node) == 0 ? found : 0;
}

void bag_add(struct bag *b, uint32_t group, uint32_t node, int64_t count)
{
	uint32_t equal = 0;

	keys_set(b, node);
	if (b->kind == BAG_VALUES) {
		value_add(b, group, node, count);
		return;
	}
	if (count < 0 || b->debts)
		equal = find_equal(b, group, node);
	if (equal && (b->count[equal] < 0) != (count < 0)) {
		node_free(b, node);
		node_take_out(b, group, equal);
		return;
	}
	b->arrival[node] = ++b->arrivals;
	node_insert(b, group, node, count);
}

struct combining {
	struct bag *to;
	uint32_t group;
};

static bool combine_node(const struct bag *from, uint32_t node, void *context)
{
	const struct combining *c = context;
	struct bag *to = c->to;
	uint32_t copy = bag_node(to);

	cells_copy(&to->value, copy, &from->value, node);
	if (to->kind == BAG_BY)
		cells_copy(&to->by, copy, &from->by, node);
	if (to->kind != BAG_VALUES)
		to->order[copy] = from->order[node];
	bag_add(to, c->group, copy, from->count[node]);
	return false;
}

void bag_combine(struct bag *to, uint32_t to_group, const struct bag *from, uint32_t from_group)
{
	struct combining c = {to, to_group};

	walk(from, from->main.roots[from_group], false, combine_node, &c);
}

/* ---- looking ---- */

bool bag_each(const struct bag *b, uint32_t group, bool backwards, bag_visit visit, void *context)
{
	return walk(b, b->main.roots[group], backwards, visit, context);
}

static bool take_first(const struct bag *b, uint32_t node, void *context)
{
	*(uint32_t *)context = node;
	return b->count[node] > 0;
}

uint32_t bag_first(const struct bag *b, uint32_t group, bool backwards)
{
	uint32_t node = 0;

	return walk(b, b->main.roots[group], backwards, take_first, &node) ? node : 0;
}

int64_t bag_total(const struct bag *b, uint32_t group)
{
	uint32_t root = b->main.roots[group];

	return root ? b->total[root] : 0;
}

uint32_t bag_at(const struct bag *b, uint32_t group, int64_t place)
{
	uint32_t at = b->main.roots[group], next;

	for (;;) {
		uint32_t left = b->main.links[at].left;

		if (place < b->total[left]) {
			next = left;
		} else if (place < b->total[left] + b->count[at]) {
			return at;
		} else {
			place -= b->total[left] + b->count[at];
			next = b->main.links[at].right;
		}
		if (!next) /* only among rows that were taken back before they came */
			return at;
		at = next;
	}
}
