/* Packed rows times packed weights, float32.

   Weights: panels of PAIR output columns, [panel][inner][PAIR]. Rows: groups of at most GROUP,
   [inner / LANES][row][LANES]. A product runs over the inner dimension in order, whatever the
   group, so the bits of a row depend neither on its companions nor on the number of threads. */

#ifndef KRONOS_MATMUL_H
#define KRONOS_MATMUL_H

#include "vectors.h"

/* The sums of a group stay in registers. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define GROUP 12
#else
#define GROUP 6
#endif
/* Rows that run together: they and one panel stay in the second-level cache. */
#define BLOCK 96

typedef struct {
    int count, first[BLOCK + 1];
} Groups;

/* Even groups of the first BLOCK of `left` rows. */
static Groups group_rows(long left) {
    const int rows = left < BLOCK ? (int)left : BLOCK;
    Groups groups = {(rows + GROUP - 1) / GROUP, {0}};
    for (int g = 0; g < groups.count; g++)
        groups.first[g + 1] =
            groups.first[g] + rows / groups.count + (g < rows % groups.count);
    return groups;
}

/* Rows of x, `stride` floats apart, into groups; with eps >= 0 each is divided by the root of its
   mean square. */
static void pack(
    const float *x, long stride, long inner, const Groups *groups, float eps, float *packed) {
    for (int g = 0; g < groups->count; g++) {
        int first = groups->first[g], rows = groups->first[g + 1] - first;
        for (int r = 0; r < rows; r++) {
            const float *row = x + (first + r) * stride;
            float scale = 1;
            if (eps >= 0) {
                vf squares[PARTS] = {{0}};
                for (long i = 0; i < inner; i += LANES)
                    for (int p = 0; p < PARTS; p++) {
                        vf x = load(row + i + p * WIDE);
                        squares[p] += x * x;
                    }
                scale = 1 / sqrtf(sum(squares) / (float)inner + eps);
            }
            float *to = packed + first * inner + r * LANES;
            for (long i = 0; i < inner; i += LANES, to += rows * LANES)
                for (int p = 0; p < LANES; p += WIDE) store(to + p, load(row + i + p) * scale);
        }
    }
}

/* `rows` rows times two vectors of columns. */
INLINE void multiply_rows(
    const float *a, const float *b, long inner, float *tile, const float *next, int lines,
    const int rows) {
    vf sums[GROUP][2];
    #pragma GCC unroll 12
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = (vf){0};
    for (long i = 0; i < inner; i += LANES, a += rows * LANES, b += PAIR * LANES) {
        /* The panel that follows comes from memory meanwhile. */
        for (int line = 0; line < lines; line++, next += LANES) __builtin_prefetch(next, 0, 2);
        #pragma GCC unroll 4
        for (int k = 0; k < LANES; k++) {
            vf left = load(b + k * PAIR), right = load(b + k * PAIR + WIDE);
            #pragma GCC unroll 12
            for (int r = 0; r < rows; r++) {
                sums[r][0] += a[r * LANES + k] * left;
                sums[r][1] += a[r * LANES + k] * right;
            }
        }
    }
    #pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        store(tile + r * PAIR, sums[r][0]);
        store(tile + r * PAIR + WIDE, sums[r][1]);
    }
}

/* tile [rows, PAIR] = one group times one panel; `lines` cache lines of `next` are fetched for each
   LANES of the inner dimension. */
static void multiply(
    const float *a, const float *b, long inner, int rows, float *tile, const float *next,
    int lines) {
    for (int c = 0; c < PAIR; c += 2 * WIDE, b += 2 * WIDE, tile += 2 * WIDE, lines = 0) {
        #define CASE(n) case n: multiply_rows(a, b, inner, tile, next, lines, n); break;
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
        #if GROUP == 12
            CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
        #endif
        }
        #undef CASE
    }
}

#endif
