#include "libcore/base/crc32.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

/* table[k][b]: the byte b followed by k zero bytes (Intel's slicing-by-8). */
static uint32_t table[8][256];

static void fill_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
		table[0][b] = crc;
	}
	for (int k = 1; k < 8; k++) {
		for (uint32_t b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^ table[0][table[k - 1][b] & 0xff];
	}
}

uint32_t crc32_update(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	if (!table[0][1])
		fill_table();
	crc = ~crc;
	for (; len >= 8; len -= 8, at += 8) {
		uint64_t w;

		memcpy(&w, at, 8);
		w = le64toh(w) ^ crc;
		crc = table[7][w & 0xff] ^ table[6][w >> 8 & 0xff] ^ table[5][w >> 16 & 0xff] ^
			table[4][w >> 24 & 0xff] ^ table[3][w >> 32 & 0xff] ^ table[2][w >> 40 & 0xff] ^
			table[1][w >> 48 & 0xff] ^ table[0][w >> 56];
	}
	for (; len; len--)
		crc = crc >> 8 ^ table[0][(crc ^ *at++) & 0xff];
	return ~crc;
}
