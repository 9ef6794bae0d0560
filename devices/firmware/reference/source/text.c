/* Bytes, numbers and digests: what a C library would give, as far as it is needed. */
#include "gateway.h"

void *memcpy(void *to, const void *from, size_t size) {
    uint8_t *into = to;
    for (const uint8_t *byte = from; size--; byte++) {
        *into++ = *byte;
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    for (uint8_t *into = to; size--; into++) {
        *into = (uint8_t)value;
    }
    return to;
}

bool same(const void *one, const void *other, size_t size) {
    const uint8_t *left = one, *right = other;
    while (size && *left == *right) {
        size--, left++, right++;
    }
    return size == 0;
}

size_t length(const char *text) {
    size_t size = 0;
    while (text[size]) {
        size++;
    }
    return size;
}

/* CRC-32 of IEEE 802.3, as in zlib; start with 0. */
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
    crc = ~crc;
    while (size--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
    }
    return ~crc;
}

uint64_t number(const uint8_t *data, size_t size) {
    uint64_t value = 0;
    while (size--) {
        value = value << 8 | *data++;
    }
    return value;
}

void put_number(uint8_t *to, uint64_t value, size_t size) {
    while (size--) {
        to[size] = (uint8_t)value;
        value >>= 8;
    }
}

void print(out_t out, const char *text) {
    while (*text) {
        out((uint8_t)*text++);
    }
}

/* Decimal, without a division of 64 bits, which the core does not have. */
void print_number(out_t out, uint64_t value) {
    static const uint64_t TENS[] = {
        1000000000000000, 100000000000000, 10000000000000, 1000000000000, 100000000000, 10000000000, 1000000000,
        100000000, 10000000, 1000000, 100000, 10000, 1000, 100, 10, 1,
    };
    bool begun = false;
    for (size_t i = 0; i < sizeof TENS / sizeof TENS[0]; i++) {
        uint8_t digit = '0';
        while (value >= TENS[i]) {
            value -= TENS[i];
            digit++;
        }
        begun = begun || digit != '0' || TENS[i] == 1;
        if (begun) {
            out(digit);
        }
    }
}

/* SHA-256, FIPS 180-4. */
static uint32_t turned(uint32_t word, int by) { return word >> by | word << (32 - by); }

static void sha256_block(uint32_t state[8], const uint8_t block[64]) {
    static const uint32_t K[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t w[64], v[8];
    for (int i = 0; i < 64; i++) {
        if (i < 16) {
            w[i] = (uint32_t)number(block + 4 * i, 4);
        } else {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[i - 7] +
                   (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
        }
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t one = turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25);
        uint32_t two = turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22);
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        uint32_t sum = v[7] + one + choice + K[i] + w[i];
        for (int j = 7; j > 0; j--) {
            v[j] = v[j - 1];
        }
        v[4] += sum;
        v[0] = sum + two + majority;
    }
    for (int i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

void sha256(const uint8_t *data, size_t size, uint8_t digest[32]) {
    uint32_t state[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    uint8_t last[128] = {0};
    size_t whole = size / 64 * 64, rest = size - whole, padded = rest < 56 ? 64 : 128;
    for (size_t at = 0; at < whole; at += 64) {
        sha256_block(state, data + at);
    }
    memcpy(last, data + whole, rest);
    last[rest] = 0x80;
    put_number(last + padded - 8, (uint64_t)size << 3, 8);
    for (size_t at = 0; at < padded; at += 64) {
        sha256_block(state, last + at);
    }
    for (int i = 0; i < 8; i++) {
        put_number(digest + 4 * i, state[i], 4);
    }
}
