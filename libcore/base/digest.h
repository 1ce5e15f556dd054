/* MD5 (RFC 1321) and SHA-256 (FIPS 180-4) of bytes in memory: for values people compare with what
 * other systems hashed.  MD5 is no protection against anybody. */
#ifndef RUNNEL_BASE_DIGEST_H
#define RUNNEL_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_MD5_BYTES = 16, DIGEST_SHA256_BYTES = 32 };

void digest_md5(const void *bytes, size_t len, uint8_t out[DIGEST_MD5_BYTES]);
void digest_sha256(const void *bytes, size_t len, uint8_t out[DIGEST_SHA256_BYTES]);

#endif
