/* Growing buffers, arenas, and the word that was probably meant. */
#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/base/memory.h"
#include "libcore/base/suggest.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void a_buffer_holds_what_was_put(void **state)
{
	struct buf b = BUF_INIT;
	uint8_t *taken;
	size_t len;

	assert_string_equal(buf_cstr(&b), "");
	assert_int_equal(b.len, 0);
	buf_put(&b, NULL, 0);
	for (int i = 0; i < 1000; i++) {
		buf_printf(&b, "%d,", i % 10);
		buf_put_byte(&b, 'x');
		buf_put_text(&b, "");
	}
	assert_int_equal(b.len, 3000);
	assert_int_equal(strlen(buf_cstr(&b)), 3000);
	assert_memory_equal(b.data + 2997, "9,x", 3);
	buf_reset(&b);
	buf_put(&b, "again", 5);
	taken = buf_take(&b, &len);
	assert_true(len == 5 && !b.data && !b.len && !b.cap);
	assert_memory_equal(taken, "again", 5);
	mem_free(taken);
	buf_clear(&b);
	buf_clear(&b);
}

/* What was given out is filled with its number and must still hold it at the end. */
static void what_an_arena_gives_out_is_aligned_and_apart(void **state)
{
	struct arena a = ARENA_INIT;

	random_seed(11);
	for (int round = 0; round < 20; round++) {
		uint8_t *given[300];
		size_t lens[300];

		for (unsigned i = 0; i < COUNT(given); i++) {
			lens[i] = random_below(20) ? random_below(200) : random_below(60000);
			given[i] = i % 3 ? arena_alloc(&a, lens[i]) : arena_zero(&a, lens[i]);
			assert_int_equal((uintptr_t)given[i] % (lens[i] >= 64 ? 64 : 16), 0);
			for (size_t k = 0; i % 3 == 0 && k < lens[i]; k++)
				assert_int_equal(given[i][k], 0);
			memset(given[i], (int)i & 0xff, lens[i]);
		}
		for (unsigned i = 0; i < COUNT(given); i++) {
			for (size_t k = 0; k < lens[i]; k++)
				assert_int_equal(given[i][k], i & 0xff);
		}
		if (round == 10)
			arena_clear(&a);
		else
			arena_reset(&a);
	}
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
	assert_string_equal(arena_strndup(&a, "word and more", 4), "word");
	assert_string_equal(arena_strdup(&a, ""), "");
	arena_clear(&a);
	arena_clear(&a);
}

static void a_word_is_suggested_only_if_it_is_near(void **state)
{
	static const char *const words[] = {"origin", "dest", "dep_delay", "arr_delay", "id", "n", ""};
	static const struct {
		const char *word;
		int want;
	} cases[] = {
		{"", -1},
		{"xyzzy", -1},
		{"x", -1},
		{"orgin", 0},
		{"oirgin", 0},
		{"ORIGIN", 0},
		{"origins", 0},
		{"des", 1},
		{"dset", 1},
		{"dep_dleay", 2},
		{"arr_dela", 3},
		{"di", 4},
		{"dep", -1},
		{"a_word_that_is_longer_than_any_name_that_a_column_has_ever_had_here", -1},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int got = suggest(cases[i].word, strlen(cases[i].word), words, COUNT(words));

		if (got != cases[i].want)
			fail_msg("'%s': %d", cases[i].word, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_is_suggested_only_if_it_is_near),
		cmocka_unit_test(a_buffer_holds_what_was_put),
		cmocka_unit_test(what_an_arena_gives_out_is_aligned_and_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
