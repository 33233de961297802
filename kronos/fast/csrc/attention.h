/* Attention of queries to the keys and values of one row and head: softmax(q . k) v. Queries
   come scaled.

   Sums run in one fixed order: the bits of a query depend on it and its past alone. */

#ifndef KRONOS_ATTENTION_H
#define KRONOS_ATTENTION_H

#include "vectors.h"

#define MAX_VECTORS (16 * PARTS)
/* Keys, or values, whose sums stay in registers; divides PAIR. */
#define KEYS (WIDE == 16 ? 8 : 2)

INLINE void attend_one_of_width(
    const float *q, const float *k, const float *v, float *out, float *score, long length,
    const int vectors) {
    const long width = (long)vectors * WIDE;
    vf query[MAX_VECTORS], mixed[MAX_VECTORS];
    for (int i = 0; i < vectors; i++) {
        query[i] = load(q + i * WIDE);
        mixed[i] = (vf){0};
    }
    float top = -INFINITY;
    for (long t = 0; t < length; t++) {
        const float *key = k + t * width;
        /* From zero: of a sum of two products a compiler may fuse either. */
        vf dot[PARTS] = {{0}};
        for (int i = 0; i < vectors; i++) dot[i % PARTS] += query[i] * load(key + i * WIDE);
        score[t] = sum(dot);
        if (score[t] > top) top = score[t];
    }
    long padded = (length + LANES - 1) / LANES * LANES;
    for (long t = length; t < padded; t++) score[t] = -INFINITY;
    for (long t = 0; t < padded; t += WIDE) store(score + t, exponential(load(score + t) - top));
    for (long t = length; t < padded; t++) score[t] = 0;
    vf total[PARTS] = {{0}};
    for (long t = 0; t < padded; t += LANES)
        for (int p = 0; p < PARTS; p++) total[p] += load(score + t + p * WIDE);
    for (long t = 0; t < length; t++) {
        const float *value = v + t * width;
        for (int i = 0; i < vectors; i++) mixed[i] += score[t] * load(value + i * WIDE);
    }
    float norm = 1.0f / sum(total);
    for (int i = 0; i < vectors; i++) store(out + i * WIDE, mixed[i] * norm);
}

/* One query: keys and values are each read once, in order, so the time is that of reading memory.
   `score` holds length + LANES floats; `out` may be `q`. */
static void attend_one(
    const float *q, const float *k, const float *v, float *out, float *score, long length,
    long width) {
    int vectors = (int)(width / WIDE);
    switch (width) { /* constant trip counts keep the vectors in registers */
    case 32: attend_one_of_width(q, k, v, out, score, length, 32 / WIDE); break;
    case 64: attend_one_of_width(q, k, v, out, score, length, 64 / WIDE); break;
    case 128: attend_one_of_width(q, k, v, out, score, length, 128 / WIDE); break;
    default: attend_one_of_width(q, k, v, out, score, length, vectors);
    }
}

/* Floats of scratch that attend_causal needs for `length` keys. */
static long causal_scratch(long length, long width) {
    return PAIR * (length + KEYS + 2 * width);
}

/* sums[j] = the sum over i of rows[i], PAIR floats each, times x[j * stride + i * step]. */
INLINE void multiply_few(
    const float *rows, const float *x, long stride, long step, long count,
    vf sums[KEYS][COLUMNS]) {
    vf kept[KEYS][COLUMNS];
    #pragma GCC unroll 8
    for (int j = 0; j < KEYS; j++)
        #pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) kept[j][c] = (vf){0};
    for (long i = 0; i < count; i++, rows += PAIR, x += step) {
        vf row[COLUMNS];
        #pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) row[c] = load(rows + c * WIDE);
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++)
            #pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++) kept[j][c] += x[j * stride] * row[c];
    }
    #pragma GCC unroll 8
    for (int j = 0; j < KEYS; j++)
        #pragma GCC unroll 4
        for (int c = 0; c < COLUMNS; c++) sums[j][c] = kept[j][c];
}

/* `count` <= PAIR queries, the first of them at position `first`, each to all keys up to its own
   position, in place in q [count, stride]. Queries lie across the lanes, so softmax runs lane by
   lane. Keys are read up to the next multiple of KEYS. */
static void attend_causal(
    float *q, long stride, const float *k, const float *v, long first, int count, long width,
    float *scratch) {
    float *queries = scratch, *mixed = queries + width * PAIR, *score = mixed + width * PAIR;
    const long keys = first + count;
    for (long d = 0; d < width; d++)
        for (int i = 0; i < PAIR; i++)
            queries[d * PAIR + i] = i < count ? q[i * stride + d] : 0;
    float lane[PAIR];
    for (int i = 0; i < PAIR; i++) lane[i] = (float)i;
    vf top[COLUMNS], total[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) top[c] = splat(-INFINITY), total[c] = (vf){0};
    for (long t = 0; t < keys; t += KEYS) {
        vf sums[KEYS][COLUMNS];
        multiply_few(queries, k + t * width, width, 1, width, sums);
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++)
            #pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++) {
                vf value = sums[j][c];
                if (t + j > first) {
                    vi hidden = load(lane + c * WIDE) < splat((float)(t + j - first));
                    value = pick(hidden, splat(-INFINITY), value);
                }
                top[c] = pick(value > top[c], value, top[c]);
                store(score + (t + j) * PAIR + c * WIDE, value);
            }
    }
    for (long t = 0; t < keys; t++)
        for (int c = 0; c < COLUMNS; c++) {
            float *at = score + t * PAIR + c * WIDE;
            vf value = load(at);
            vf weight = exponential(value - top[c]);
            weight = pick(value == splat(-INFINITY), (vf){0}, weight);
            store(at, weight);
            total[c] += weight;
        }
    vf norm[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) norm[c] = 1 / total[c];
    for (long d = 0; d < width; d += KEYS) {
        vf sums[KEYS][COLUMNS];
        multiply_few(score, v + d, 1, width, keys, sums);
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++)
            #pragma GCC unroll 4
            for (int c = 0; c < COLUMNS; c++)
                store(mixed + (d + j) * PAIR + c * WIDE, sums[j][c] * norm[c]);
    }
    for (int i = 0; i < count; i++)
        for (long d = 0; d < width; d++) q[i * stride + d] = mixed[d * PAIR + i];
}

#endif
