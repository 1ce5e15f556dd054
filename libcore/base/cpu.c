#include "libcore/base/cpu.h"

enum answer { UNASKED, NO, YES };

/* One answer for the process: what the processor can do does not change.  A race between threads
 * writes the same byte twice. */
static unsigned char answer = UNASKED;
static bool portable_only;

static enum answer ask(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
		/* Every processor with AVX2 and BMI has LZCNT, but gcc 12 and clang 14 don't agree
		 * on its name: CPUID 0x80000001, ECX bit 5, is asked directly. */
		unsigned a = 0x80000001u, b, c, d;

		__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
		return c & 1u << 5 ? YES : NO;
	}
#endif
	return NO;
}

bool cpu_has_avx2(void)
{
	if (answer == UNASKED)
		answer = (unsigned char)ask();
	return answer == YES && !portable_only;
}

void cpu_force_portable(bool portable)
{
	portable_only = portable;
}
