/* Attention of queries to the keys and values of one row and head: softmax(q . k) v. Queries
   come scaled.

   Sums run in one fixed order: the bits of a query depend on it and its past alone. */

#ifndef KRONOS_ATTENTION_H
#define KRONOS_ATTENTION_H

#include "vectors.h"

#define MAX_VECTORS 16
#define KEYS 8

INLINE void attend_one_of_width(
    const float *q, const float *k, const float *v, float *out, float *score, long length,
    const int vectors) {
    const long width = (long)vectors * LANES;
    vf query[MAX_VECTORS], mixed[MAX_VECTORS];
    for (int i = 0; i < vectors; i++) {
        query[i] = load(q + i * LANES);
        mixed[i] = (vf){0};
    }
    float top = -INFINITY;
    for (long t = 0; t < length; t++) {
        const float *key = k + t * width;
        vf dot = query[0] * load(key);
        for (int i = 1; i < vectors; i++) dot += query[i] * load(key + i * LANES);
        score[t] = sum(dot);
        if (score[t] > top) top = score[t];
    }
    long padded = (length + LANES - 1) / LANES * LANES;
    for (long t = length; t < padded; t++) score[t] = -INFINITY;
    vf total = {0};
    for (long t = 0; t < padded; t += LANES) {
        store(score + t, exponential(load(score + t) - top));
        if (t + LANES > length)
            for (long i = length; i < padded; i++) score[i] = 0;
        total += load(score + t);
    }
    for (long t = 0; t < length; t++) {
        const float *value = v + t * width;
        for (int i = 0; i < vectors; i++) mixed[i] += score[t] * load(value + i * LANES);
    }
    float norm = 1.0f / sum(total);
    for (int i = 0; i < vectors; i++) store(out + i * LANES, mixed[i] * norm);
}

/* One query: keys and values are each read once, in order, so the time is that of reading memory.
   `score` holds length + LANES floats; `out` may be `q`. */
static void attend_one(
    const float *q, const float *k, const float *v, float *out, float *score, long length,
    long width) {
    int vectors = (int)(width / LANES);
    switch (vectors) { /* constant trip counts keep the vectors in registers */
    case 2: attend_one_of_width(q, k, v, out, score, length, 2); break;
    case 4: attend_one_of_width(q, k, v, out, score, length, 4); break;
    case 8: attend_one_of_width(q, k, v, out, score, length, 8); break;
    default: attend_one_of_width(q, k, v, out, score, length, vectors);
    }
}

/* Floats of scratch that attend_causal needs for `length` keys. */
static long causal_scratch(long length, long width) {
    return PAIR * (length + KEYS + 2 * width);
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
    const vf lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf top[2] = {splat(-INFINITY), splat(-INFINITY)}, total[2] = {{0}, {0}};
    for (long t = 0; t < keys; t += KEYS) {
        vf sums[KEYS][2];
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++) sums[j][0] = sums[j][1] = (vf){0};
        for (long d = 0; d < width; d++) {
            vf left = load(queries + d * PAIR), right = load(queries + d * PAIR + LANES);
            #pragma GCC unroll 8
            for (int j = 0; j < KEYS; j++) {
                float key = k[(t + j) * width + d];
                sums[j][0] += key * left;
                sums[j][1] += key * right;
            }
        }
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++)
            #pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                vf value = sums[j][half];
                if (t + j > first) {
                    vi hidden = lane < splat((float)(t + j - first - half * LANES));
                    value = pick(hidden, splat(-INFINITY), value);
                }
                top[half] = pick(value > top[half], value, top[half]);
                store(score + (t + j) * PAIR + half * LANES, value);
            }
    }
    for (long t = 0; t < keys; t++)
        for (int half = 0; half < 2; half++) {
            float *at = score + t * PAIR + half * LANES;
            vf value = load(at);
            vf weight = exponential(value - top[half]);
            weight = pick(value == splat(-INFINITY), (vf){0}, weight);
            store(at, weight);
            total[half] += weight;
        }
    const vf norm[2] = {1 / total[0], 1 / total[1]};
    for (long d = 0; d < width; d += KEYS) {
        vf sums[KEYS][2];
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++) sums[j][0] = sums[j][1] = (vf){0};
        for (long t = 0; t < keys; t++) {
            vf left = load(score + t * PAIR), right = load(score + t * PAIR + LANES);
            #pragma GCC unroll 8
            for (int j = 0; j < KEYS; j++) {
                float value = v[t * width + d + j];
                sums[j][0] += value * left;
                sums[j][1] += value * right;
            }
        }
        #pragma GCC unroll 8
        for (int j = 0; j < KEYS; j++) {
            store(mixed + (d + j) * PAIR, sums[j][0] * norm[0]);
            store(mixed + (d + j) * PAIR + LANES, sums[j][1] * norm[1]);
        }
    }
    for (int i = 0; i < count; i++)
        for (long d = 0; d < width; d++) q[i * stride + d] = mixed[d * PAIR + i];
}

#endif
