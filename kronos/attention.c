/* Decode attention: one query a row and head against the keys and values of its past.

   softmax(scale * q . k) v, float32. Keys and values are each read once, in order, and nothing is
   packed or copied, so the time is that of reading memory. Sums run in one fixed order: the bits of
   a row depend on that row alone, whatever the number of rows or threads. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define LANES 16
#define MAX_VECTORS 16

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef float vf_any __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));

static inline vf load(const float *p) { return *(const vf_any *)p; }

static inline float sum(vf x) {
    float part[LANES];
    *(vf_any *)part = x;
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

/* e^x for x <= 0: 2^n * 2^f with a polynomial for 2^f on [-1/2, 1/2]; error below 2 ulp. */
static inline vf exp_nonpositive(vf x) {
    vf low = x - x - 87.0f;
    vi under = x < low;
    x = (vf)(((vi)x & ~under) | ((vi)low & under));
    const vf magic = low - low + 12582912.0f;
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

static inline __attribute__((always_inline)) void attend_row(
    const float *q, const float *k, const float *v, float *out, float *score, int vectors,
    long length, float scale) {
    const long width = (long)vectors * LANES;
    vf query[MAX_VECTORS], mixed[MAX_VECTORS];
    for (int i = 0; i < vectors; i++) {
        query[i] = load(q + i * LANES) * scale;
        mixed[i] = query[i] - query[i];
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
        vf weight = exp_nonpositive(load(score + t) - top);
        *(vf_any *)(score + t) = weight;
        if (t + LANES > length)
            for (long i = length; i < padded; i++) score[i] = 0;
        total += load(score + t);
    }
    for (long t = 0; t < length; t++) {
        const float *value = v + t * width;
        for (int i = 0; i < vectors; i++) mixed[i] += score[t] * load(value + i * LANES);
    }
    float norm = 1.0f / sum(total);
    for (int i = 0; i < vectors; i++) *(vf_any *)(out + i * LANES) = mixed[i] * norm;
}

/* q, out: [rows, heads, width], contiguous. k, v: [rows, heads, >= length, width] with the given
   strides, in floats, of rows and heads. width is a multiple of 16, at most 256. Returns 0, or 1
   when there was no memory. */
int kronos_attend(
    const float *q, const float *k, const float *v, float *out, long rows, long heads, long width,
    long length, long row_stride, long head_stride, float scale) {
    int failed = 0, vectors = (int)(width / LANES);
    #pragma omp parallel
    {
        float *score = malloc(sizeof(float) * (length + LANES));
        if (!score) {
            #pragma omp atomic write
            failed = 1;
        }
        #pragma omp for collapse(2) schedule(static)
        for (long r = 0; r < rows; r++)
            for (long h = 0; h < heads; h++) {
                if (!score) continue;
                const float *key = k + r * row_stride + h * head_stride;
                const float *value = v + r * row_stride + h * head_stride;
                const float *query = q + (r * heads + h) * width;
                float *result = out + (r * heads + h) * width;
                switch (vectors) { /* constant trip counts keep the vectors in registers */
                case 2: attend_row(query, key, value, result, score, 2, length, scale); break;
                case 4: attend_row(query, key, value, result, score, 4, length, scale); break;
                case 8: attend_row(query, key, value, result, score, 8, length, scale); break;
                default: attend_row(query, key, value, result, score, vectors, length, scale);
                }
            }
        free(score);
    }
    return failed;
}
