/* Time zone files: what is taken answers at any time, within its own span. */
#include "libcore/base/must.h"
#include "libcore/base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t times[] = {INT64_MIN / 1000000, -5000000000, 0, 1700000000, 4102444800,
		95617584000, INT64_MAX / 1000000};
	struct error e = ERROR_INIT;
	struct zone *z;

	if (zone_parse(data, size, &z, &e) < 0) {
		error_clear(&e);
		return 0;
	}
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		int64_t from, until;

		zone_offset(z, times[i], &from, &until);
		MUST(from <= times[i] && times[i] < until);
		zone_to_utc(z, times[i] * 1000000);
	}
	zone_free(z);
	return 0;
}
