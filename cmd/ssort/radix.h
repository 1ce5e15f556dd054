/* Sorting of (key, place) pairs by key, stably. */
#ifndef RUNNEL_SSORT_RADIX_H
#define RUNNEL_SSORT_RADIX_H

#include <stddef.h>
#include <stdint.h>

struct sort_entry {
	uint64_t key;
	uint32_t place;
	uint32_t spare; /* of who sorts */
};

/* room: as large as entries, its contents are lost. */
void radix_sort(struct sort_entry *entries, struct sort_entry *room, size_t n);

#endif
