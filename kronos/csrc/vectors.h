/* Sixteen floats at a time, in the vector extension of gcc and clang. */

#ifndef KRONOS_VECTORS_H
#define KRONOS_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define LANES 16
#define PAIR (2 * LANES)
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef float vf_any __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));

INLINE vf load(const float *p) { return *(const vf_any *)p; }

INLINE void store(float *p, vf x) { *(vf_any *)p = x; }

INLINE vf splat(float x) { return x - (vf){0}; }

/* where mask ? yes : no, for masks of comparisons */
INLINE vf pick(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

/* Halves are added until one is left: one fixed order. */
INLINE float sum(vf x) {
    x += __builtin_shuffle(x, (vi){8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15});
    x += __builtin_shuffle(x, (vi){4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7});
    x += __builtin_shuffle(x, (vi){2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3});
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
