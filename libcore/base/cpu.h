/* Which kernels this processor can run.
 *
 * The build's baseline is plain x86-64 (or whatever the compiler targets); hot kernels come a
 * second time with __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt"))) and are chosen by this
 * question, asked once per buffer or batch and not per value.  The answer is a cached byte. */
#ifndef RUNNEL_BASE_CPU_H
#define RUNNEL_BASE_CPU_H

#include <stdbool.h>

/* True if AVX2, BMI1, BMI2, POPCNT and LZCNT are all there and nobody forced the portable code. */
bool cpu_has_avx2(void);

/* Tests run the portable kernels too: true makes cpu_has_avx2() false until called with false. */
void cpu_force_portable(bool portable);

#endif
