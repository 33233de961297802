/* Blocks of a transformer over a batch of rows: RMSNorm, rotary attention with a cache, SwiGLU.

   A task is a set of rows that one team of threads runs through all blocks. Where there are rows
   enough, a team is one thread and nothing waits for anything: while one thread reads its cache,
   another multiplies. Otherwise all threads are one team and share out the columns of each product.
   Neither changes a bit of the results. */

#include "attention.h"
#include "matmul.h"

#include <omp.h>
#include <sys/mman.h>

/* Fewer rows for each thread, and threads share out columns. */
#define ROWS_ALONE 16

/* Weights are panels (matmul.h). heads is the number of heads, each `width` floats, a multiple of
   PAIR. qkv has columns for query, key and value; of a rotated head a panel holds LANES first and
   the LANES second members of pairs. up has LANES columns of w1 and LANES of w3 in a panel.
   rotation: [positions, width / PAIR, cos and sin, LANES], or NULL. out == NULL: the block leaves
   keys and values only, and qkv has no columns for the query. keys, values: of the first row, with
   strides in floats. */
typedef struct {
    const float *qkv, *qkv_bias, *out, *out_bias, *up, *down, *rotation;
    float *keys, *values;
    long heads, width, hidden, row_stride, head_stride;
} Block;

typedef struct {
    float *x, *mixed, *gated; /* [rows, inner], [rows, widest], packed [BLOCK, widest hidden] */
    long inner, widest, rows, length, start;
    const int64_t *cache_rows; /* one a window */
    float eps;
    int rank, size;
} Task;

static void wait_for_team(const Task *task) {
    if (task->size > 1) {
        #pragma omp barrier
    }
}

typedef void Epilogue(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated);

/* This thread's share of the panels of packed rows times `weight`. */
static void project(
    const Task *task, const Block *block, const float *weight, long inner, long outer,
    const Groups *groups, long first, const float *packed, Epilogue *finish) {
    float tile[GROUP * PAIR] __attribute__((aligned(64)));
    const long panels = outer / PAIR;
    const long from = panels * task->rank / task->size;
    const long to = panels * (task->rank + 1) / task->size;
    const int lines = (PAIR + groups->count - 1) / groups->count;
    for (long p = from; p < to; p++) {
        const float *panel = weight + p * inner * PAIR;
        for (int g = 0; g < groups->count; g++) {
            int begin = groups->first[g], rows = groups->first[g + 1] - begin;
            multiply(
                packed + begin * inner, panel, inner, rows, tile,
                panel + inner * PAIR + g * inner / LANES * lines * LANES, lines);
            finish(task, block, p, first + begin, rows, tile, task->gated + begin * block->hidden);
        }
    }
}

static void finish_qkv(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated) {
    (void)gated;
    const long parts = block->width / PAIR, of_kind = block->heads * parts;
    const long kind = panel / of_kind + (block->out ? 0 : 1); /* 0 query, 1 key, 2 value */
    const long head = panel % of_kind / parts, part = panel % parts;
    const float *bias = block->qkv_bias + panel * PAIR;
    for (int r = 0; r < rows; r++, tile += PAIR) {
        const long token = first + r, position = task->start + token % task->length;
        float *to;
        if (kind == 0)
            to = task->mixed + token * task->widest + head * block->width;
        else
            to = (kind == 1 ? block->keys : block->values) +
                 task->cache_rows[token / task->length] * block->row_stride +
                 head * block->head_stride + position * block->width;
        to += part * PAIR;
        const float *turn = kind < 2 && block->rotation
                                ? block->rotation + (position * parts + part) * PAIR
                                : NULL;
        for (int i = 0; i < LANES; i += WIDE) {
            vf left = load(tile + i) + load(bias + i);
            vf right = load(tile + LANES + i) + load(bias + LANES + i);
            if (turn) {
                const vf cosine = load(turn + i), sine = load(turn + LANES + i), kept = left;
                left = left * cosine - right * sine;
                right = kept * sine + right * cosine;
            }
            store(to + i, left);
            store(to + LANES + i, right);
        }
    }
}

static void finish_up(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated) {
    (void)task, (void)block, (void)first;
    float *to = gated + panel * rows * LANES;
    for (int r = 0; r < rows; r++, tile += PAIR)
        for (int i = 0; i < LANES; i += WIDE) {
            vf x = load(tile + i);
            store(to + r * LANES + i, x / (1 + exponential(-x)) * load(tile + LANES + i));
        }
}

static void add(const Task *task, const float *bias, long panel, long first, int rows,
                const float *tile) {
    float *to = task->x + first * task->inner + panel * PAIR;
    for (int i = 0; i < PAIR; i += WIDE) {
        if (panel * PAIR + i >= task->inner) continue;
        vf shift = bias ? load(bias + panel * PAIR + i) : (vf){0};
        for (int r = 0; r < rows; r++) {
            float *at = to + r * task->inner + i;
            store(at, load(at) + (load(tile + r * PAIR + i) + shift));
        }
    }
}

static void finish_out(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated) {
    (void)gated;
    add(task, block->out_bias, panel, first, rows, tile);
}

static void finish_down(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated) {
    (void)block, (void)gated;
    add(task, NULL, panel, first, rows, tile);
}

static void attend(const Task *task, const Block *block, float *scratch) {
    const long width = block->width, length = task->length, windows = task->rows / length;
    const long pieces = (length + PAIR - 1) / PAIR, parts = windows * block->heads * pieces;
    for (long i = parts * task->rank / task->size; i < parts * (task->rank + 1) / task->size; i++) {
        const long window = i / pieces / block->heads, head = i / pieces % block->heads;
        const long first = i % pieces * PAIR, left = length - first;
        const long offset =
            task->cache_rows[window] * block->row_stride + head * block->head_stride;
        const float *k = block->keys + offset, *v = block->values + offset;
        float *q = task->mixed + (window * length + first) * task->widest + head * width;
        if (length == 1)
            attend_one(q, k, v, q, scratch, task->start + 1, width);
        else
            attend_causal(
                q, task->widest, k, v, task->start + first, left < PAIR ? (int)left : PAIR, width,
                scratch);
    }
}

static void run(const Task *task, const Block *blocks, long count, float *packed, float *scratch) {
    const long inner = task->inner, outer = (inner + PAIR - 1) / PAIR * PAIR;
    for (const Block *block = blocks; block < blocks + count; block++) {
        const long mixed = block->heads * block->width;
        for (long first = 0; first < task->rows; first += BLOCK) {
            const Groups groups = group_rows(task->rows - first);
            pack(task->x + first * inner, inner, inner, &groups, task->eps, packed);
            project(
                task, block, block->qkv, inner, (block->out ? 3 : 2) * mixed, &groups, first,
                packed, finish_qkv);
        }
        wait_for_team(task);
        if (!block->out) continue;
        attend(task, block, scratch);
        wait_for_team(task);
        for (long first = 0; first < task->rows; first += BLOCK) {
            const Groups groups = group_rows(task->rows - first);
            const float *from = task->mixed + first * task->widest;
            pack(from, task->widest, mixed, &groups, -1, packed);
            project(task, block, block->out, mixed, outer, &groups, first, packed, finish_out);
            wait_for_team(task);
            pack(task->x + first * inner, inner, inner, &groups, task->eps, packed);
            project(
                task, block, block->up, inner, 2 * block->hidden, &groups, first, packed,
                finish_up);
            wait_for_team(task);
            project(
                task, block, block->down, block->hidden, outer, &groups, first, task->gated,
                finish_down);
            wait_for_team(task);
        }
    }
}

/* Memory of a thread, kept for its next call: fresh pages cost more than what is done on them. */
static float *kept(int which, long floats) {
    static _Thread_local float *memory[2];
    static _Thread_local long size[2];
    if (size[which] < floats) {
        free(memory[which]);
        size[which] = (floats + LANES - 1) / LANES * LANES;
        memory[which] = aligned_alloc(64, sizeof(float) * size[which]);
        if (!memory[which]) size[which] = 0;
    }
    return memory[which];
}

static long larger(long a, long b) { return a > b ? a : b; }

/* Runs x [windows, length, inner] from position `start` through the blocks, in place. Keys and
   values go to the given rows of the caches. Returns 0, or 1 when there was no memory. */
int kronos_forward(
    const Block *blocks, long count, float *x, const int64_t *cache_rows, long inner, long windows,
    long length, long start, float eps) {
    long widest = PAIR, hidden = LANES, width = PAIR;
    for (long i = 0; i < count; i++) {
        width = larger(width, blocks[i].width);
        if (!blocks[i].out) continue;
        widest = larger(widest, blocks[i].heads * blocks[i].width);
        hidden = larger(hidden, blocks[i].hidden);
    }
    const int threads = omp_get_max_threads();
    const int alone = threads == 1 || (length > 1 ? windows % threads == 0 || windows >= 4 * threads
                                                  : windows >= ROWS_ALONE * threads);
    /* Windows of a context are handed out one by one, rows of a step in one piece a thread. */
    const long piece = length > 1 ? 1 : (windows + threads - 1) / threads;
    const long rows = (alone ? piece : windows) * length;
    const long need_mixed = rows * widest, need_gated = BLOCK * hidden;
    float *shared = alone ? NULL : kept(0, need_mixed + need_gated);
    int failed = !alone && !shared;
    #pragma omp parallel num_threads(threads) if (!failed)
    {
        const long need_packed = BLOCK * larger(inner, widest);
        const long need_scratch = causal_scratch(start + length, width);
        float *packed = kept(1, need_packed + need_scratch);
        float *mixed = alone ? kept(0, need_mixed + need_gated) : shared;
        if (!packed || !mixed) {
            #pragma omp atomic write
            failed = 1;
        }
        #pragma omp barrier
        if (!failed) {
            Task task = {x,     mixed,      mixed + need_mixed, inner, widest, rows, length,
                         start, cache_rows, eps,                0,     1};
            if (alone) {
                #pragma omp for schedule(dynamic, 1)
                for (long window = 0; window < windows; window += piece) {
                    const long count_here = windows - window < piece ? windows - window : piece;
                    task.x = x + window * length * inner;
                    task.rows = count_here * length;
                    task.cache_rows = cache_rows + window;
                    run(&task, blocks, count, packed, packed + need_packed);
                }
            } else {
                task.rank = omp_get_thread_num();
                task.size = omp_get_num_threads();
                run(&task, blocks, count, packed, packed + need_packed);
            }
        }
    }
    return failed;
}

static void finish_linear(
    const Task *task, const Block *block, long panel, long first, int rows, const float *tile,
    float *gated) {
    (void)gated;
    const float *bias = block->out_bias + panel * PAIR;
    float *to = task->x + first * task->inner + panel * PAIR;
    for (int r = 0; r < rows; r++, to += task->inner, tile += PAIR)
        for (int i = 0; i < PAIR; i += WIDE) store(to + i, load(tile + i) + load(bias + i));
}

/* out [rows, outer] = x [rows, inner] times the panels of `weight`, plus bias. Returns as above. */
int kronos_linear(
    const float *x, const float *weight, const float *bias, float *out, long rows, long inner,
    long outer) {
    int failed = 0;
    #pragma omp parallel
    {
        float *packed = kept(1, BLOCK * inner);
        if (!packed) {
            #pragma omp atomic write
            failed = 1;
        }
        const Block block = {.out_bias = bias, .hidden = 0};
        const Task task = {
            .x = out, .inner = outer, .rank = omp_get_thread_num(), .size = omp_get_num_threads()};
        for (long first = 0; packed && first < rows; first += BLOCK) {
            const Groups groups = group_rows(rows - first);
            pack(x + first * inner, inner, inner, &groups, -1, packed);
            project(&task, &block, weight, inner, outer, &groups, first, packed, finish_linear);
        }
    }
    return failed;
}

/* q [rows, heads * width], in place, each to the first `length` keys and values of its row. */
int kronos_attend(
    float *q, const float *keys, const float *values, long rows, long heads, long width,
    long length, long row_stride, long head_stride) {
    int failed = 0;
    #pragma omp parallel
    {
        float *score = kept(1, length + LANES);
        if (!score) {
            #pragma omp atomic write
            failed = 1;
        }
        #pragma omp for schedule(static)
        for (long i = 0; i < rows * heads; i++) {
            if (!score) continue;
            const long offset = i / heads * row_stride + i % heads * head_stride;
            attend_one(
                q + i * width, keys + offset, values + offset, q + i * width, score, length, width);
        }
    }
    return failed;
}

/* Asks for large pages: a decode step reads the whole cache, and small pages halve its speed. */
void kronos_advise(void *memory, long bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 1 << 21, begin = ((uintptr_t)memory + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)memory + bytes) / page * page;
    if (end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#endif
}
