/* Sorted multisets of rows, one per group: what an aggregate keeps whose rows may be taken back.
 *
 *   nodes    value | by | order | arrival | count       arrays, by number; 0 is none
 *   main     left | right | key [| total]                the order in which results see the rows
 *   index    left | right | key                          by value: finds the row to be taken back
 *
 * Trees are treaps (Seidel, Aragon 1996) with numbers for links and the hash of a node's number for
 * its priority; all groups share the arrays, so that a row costs no allocation.  A link's key
 * decides most comparisons without a look at the node: the whole of an int, the first bytes of a
 * text.  A bag is of one of three kinds:
 *
 *   BAG_VALUES   equal values are one node with a count; no index: main is by value
 *   BAG_ROWS     by order, then arrival
 *   BAG_BY       by a second value (greatest first if descending), then order, then arrival
 *
 * A count below 0 is a row that was taken back before it came; results don't see it.  Not for use
 * outside aggregate*.c. */
#ifndef RUNNEL_EXPR_AGGREGATE_BAG_H
#define RUNNEL_EXPR_AGGREGATE_BAG_H

#include "libcore/expr/aggregate_impl.h"

enum bag_kind {
	BAG_VALUES,
	BAG_ROWS,
	BAG_BY,
};

struct bag_link {
	uint32_t left, right;
	int64_t key; /* lesser: before; equal: look at the node */
};

struct bag;

struct bag_tree {
	struct bag_link *links; /* by node */
	uint32_t *roots;        /* by group */
	int (*compare)(const struct bag *b, uint32_t x, uint32_t y); /* where keys are equal */
};

struct bag {
	enum bag_kind kind;
	bool descending; /* BAG_BY: greatest first */
	bool counted;    /* totals are kept: BAG_VALUES */
	struct cells value, by;
	int64_t *order;    /* not BAG_VALUES */
	uint64_t *arrival; /* not BAG_VALUES */
	int64_t *count;
	int64_t *total; /* of the subtree */
	struct bag_tree main, index;
	uint32_t nodes, cap; /* numbers given out, and room */
	uint32_t free;       /* those given back, linked by main's left */
	uint32_t debts;      /* nodes whose count is below 0 */
	uint64_t arrivals;
};

void bag_init(struct bag *b, enum bag_kind kind, struct type value, struct type by);
void bag_clear(struct bag *b);
void bag_reserve(struct bag *b, uint32_t groups);
void bag_start(struct bag *b, uint32_t first, uint32_t end); /* groups become empty, once */
void bag_reset(struct bag *b);
void bag_drop(struct bag *b, uint32_t group); /* makes it empty and gives its nodes to others */
size_t bag_bytes(const struct bag *b, uint32_t groups);

/* A node for a row: fill value, by and order (whichever the kind has), then add it at once: +1
 * adds, -1 takes back.  BAG_VALUES may add any number.  The node is the bag's again. */
uint32_t bag_node(struct bag *b);
void bag_add(struct bag *b, uint32_t group, uint32_t node, int64_t count);

/* Adds what another group has; from may be to. */
void bag_combine(struct bag *to, uint32_t to_group, const struct bag *from, uint32_t from_group);

/* Calls visit for the nodes of a group in main's order, or backwards, until it returns true. */
typedef bool (*bag_visit)(const struct bag *b, uint32_t node, void *context);
bool bag_each(const struct bag *b, uint32_t group, bool backwards, bag_visit visit, void *context);

/* The first node whose count is above 0, or 0. */
uint32_t bag_first(const struct bag *b, uint32_t group, bool backwards);

/* BAG_VALUES: rows in all, and the node of the one at a place from 0. */
int64_t bag_total(const struct bag *b, uint32_t group);
uint32_t bag_at(const struct bag *b, uint32_t group, int64_t place);

#endif
