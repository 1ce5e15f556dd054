#include "libcore/base/cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The kernel's word for it: every flag is a word of /proc/cpuinfo. */
static bool kernel_lists(const char *flag)
{
	static char line[65536];
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *at = strncmp(line, "flags", 5) ? NULL : line;

		while (!found && at && (at = strstr(at + 1, flag)))
			found = at[-1] == ' ' && strchr(" \n", at[strlen(flag)]);
	}
	if (f)
		fclose(f);
	return found;
}

static void portable_code_can_be_forced_and_let_go(void **state)
{
	bool there = cpu_has_avx2();

	(void)state;
	cpu_force_portable(true);
	assert_false(cpu_has_avx2());
	cpu_force_portable(false);
	assert_true(cpu_has_avx2() == there);
}

static void the_kernel_agrees_on_what_is_there(void **state)
{
	(void)state;
	if (!kernel_lists("fpu"))
		skip(); /* not x86, or no /proc */
	assert_true(cpu_has_avx2() ==
		    (kernel_lists("avx2") && kernel_lists("bmi1") && kernel_lists("bmi2") &&
			    kernel_lists("popcnt") && kernel_lists("abm")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(portable_code_can_be_forced_and_let_go),
		cmocka_unit_test(the_kernel_agrees_on_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
