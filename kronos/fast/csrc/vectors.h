/* Vectors of floats, in the vector extension of gcc and clang.

   Layouts and the order of sums are those of LANES = 16 floats everywhere. A processor whose
   registers are narrower holds them in two or four vectors: the bits stay the same. */

#ifndef KRONOS_VECTORS_H
#define KRONOS_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define LANES 16
#define PAIR (2 * LANES)
#ifndef WIDE
#if defined(__AVX512F__)
#define WIDE 16
#elif defined(__AVX__)
#define WIDE 8
#else
#define WIDE 4
#endif
#endif
#define PARTS (LANES / WIDE) /* vectors that hold LANES */
#define COLUMNS (PAIR / WIDE) /* vectors that hold PAIR */
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * WIDE)));
typedef float vf_any __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * WIDE)));

INLINE vf load(const float *p) { return *(const vf_any *)p; }

INLINE void store(float *p, vf x) { *(vf_any *)p = x; }

INLINE vf splat(float x) { return x - (vf){0}; }

/* where mask ? yes : no, for masks of comparisons */
INLINE vf pick(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

#ifdef __clang__
#define TAKE(x, ...) __builtin_shufflevector(x, x, __VA_ARGS__)
#else
#define TAKE(x, ...) __builtin_shuffle(x, (vi){__VA_ARGS__})
#endif

/* Of LANES floats: halves are added until one is left, one fixed order. */
INLINE float sum(const vf *parts) {
#if WIDE == 16
    vf x = parts[0];
    x += TAKE(x, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    x += TAKE(x, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    x += TAKE(x, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
#elif WIDE == 8
    vf x = parts[0] + parts[1];
    x += TAKE(x, 4, 5, 6, 7, 4, 5, 6, 7);
    x += TAKE(x, 2, 3, 2, 3, 2, 3, 2, 3);
#else
    vf x = (parts[0] + parts[2]) + (parts[1] + parts[3]);
    x += TAKE(x, 2, 3, 2, 3);
#endif
    return x[0] + x[1];
}

/* e^x for |x| <= 87, beyond it e^±87: 2^n * 2^f with a polynomial for 2^f on [-1/2, 1/2]; error
   below 2 ulp. */
INLINE vf exponential(vf x) {
    const vf most = splat(87.0f), magic = splat(12582912.0f);
    x = pick(x < -most, -most, pick(x > most, most, x));
    vf n = (x * 1.44269504088896341f + magic) - magic;
    vf r = x - n * 0.693145751953125f - n * 1.428606765330187e-06f;
    vf y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    vi power = (__builtin_convertvector(n, vi) + 127) << 23;
    return y * (vf)power;
}

#endif
