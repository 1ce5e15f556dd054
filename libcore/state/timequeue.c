#include "libcore/state/timequeue.h"

#include "libcore/base/memory.h"

static bool before(const struct timequeue_entry *a, const struct timequeue_entry *b)
{
	return a->time_us < b->time_us || (a->time_us == b->time_us && a->row < b->row);
}

void timequeue_clear(struct timequeue *q)
{
	mem_free(q->run);
	mem_free(q->heap);
	*q = (struct timequeue){.run = NULL};
}

size_t timequeue_len(const struct timequeue *q)
{
	return q->run_len - q->run_first + q->heap_len;
}

static void heap_up(struct timequeue_entry *heap, size_t at)
{
	struct timequeue_entry moved = heap[at];

	while (at > 0 && before(&moved, &heap[(at - 1) / 2])) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = moved;
}

static void heap_down(struct timequeue_entry *heap, size_t len, size_t at)
{
	struct timequeue_entry moved = heap[at];
	size_t child;

	while ((child = 2 * at + 1) < len) {
		if (child + 1 < len && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &moved))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moved;
}

void timequeue_push(struct timequeue *q, int64_t time_us, uint32_t row)
{
	struct timequeue_entry entry = {time_us, row};

	if (q->run_first == q->run_len) /* all left: start over, so that the run does not creep */
		q->run_first = q->run_len = 0;
	if (q->run_len == 0 || !before(&entry, &q->run[q->run_len - 1])) {
		MEM_GROW(q->run, q->run_cap, q->run_len + 1);
		q->run[q->run_len++] = entry;
		return;
	}
	MEM_GROW(q->heap, q->heap_cap, q->heap_len + 1);
	q->heap[q->heap_len] = entry;
	heap_up(q->heap, q->heap_len++);
}

/* What left the run is given back once it is more than what stays. */
static void run_trim(struct timequeue *q)
{
	size_t stay = q->run_len - q->run_first;

	if (q->run_first < 4096 || q->run_first < stay)
		return;
	for (size_t i = 0; i < stay; i++)
		q->run[i] = q->run[q->run_first + i];
	q->run_first = 0;
	q->run_len = stay;
}

bool timequeue_pop(struct timequeue *q, int64_t until_us, struct timequeue_entry *out)
{
	bool has_run = q->run_first < q->run_len;
	bool from_heap = q->heap_len && (!has_run || before(&q->heap[0], &q->run[q->run_first]));

	if (!has_run && !from_heap)
		return false;
	*out = from_heap ? q->heap[0] : q->run[q->run_first];
	if (out->time_us > until_us)
		return false;
	if (!from_heap) {
		q->run_first++;
		run_trim(q);
		return true;
	}
	q->heap[0] = q->heap[--q->heap_len];
	if (q->heap_len)
		heap_down(q->heap, q->heap_len, 0);
	return true;
}

void timequeue_remap(struct timequeue *q, const uint32_t *remap)
{
	size_t n = 0;

	for (size_t i = q->run_first; i < q->run_len; i++)
		if (remap[q->run[i].row] != UINT32_MAX)
			q->run[n++] = (struct timequeue_entry){
				q->run[i].time_us, remap[q->run[i].row]};
	q->run_first = 0;
	q->run_len = n;
	n = 0;
	for (size_t i = 0; i < q->heap_len; i++)
		if (remap[q->heap[i].row] != UINT32_MAX)
			q->heap[n++] = (struct timequeue_entry){
				q->heap[i].time_us, remap[q->heap[i].row]};
	q->heap_len = n;
	for (size_t i = n / 2; i-- > 0;)
		heap_down(q->heap, n, i);
}

size_t timequeue_bytes(const struct timequeue *q)
{
	return (q->run_cap + q->heap_cap) * sizeof *q->run;
}
