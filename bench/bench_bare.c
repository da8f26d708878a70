/* SPDX-License-Identifier: Apache-2.0 */
/* The bare pass: which loop, over which memory, on which threads. */
#include "bench_bare.h"

#include <omp.h>
#include <string.h>

#define LEVEL(name) extern const bench_loops bench_loops_##name;
HONE_LEVELS
#undef LEVEL

const bench_loops *bench_loops_find(const char *level)
{
#define LEVEL(name)                \
    if (strcmp(level, #name) == 0) \
        return &bench_loops_##name;
    HONE_LEVELS
#undef LEVEL
    return NULL;
}

bool bench_bare_begin(bench_bare *bare, const bench_subject *subject, const bench_recipe *recipe,
                      const char *first_slot, const char *second_slot)
{
    const hone_context *const context = hone_optimizer_context(subject->optimizer);
    *bare = (bench_bare){.loops = bench_loops_find(hone_context_cpu(context)),
                         .threads = hone_context_threads(context),
                         .reads_first = recipe->clip_norm != 0 || recipe->scaler,
                         .dtype = recipe->dtype,
                         .n = (size_t)subject->elements,
                         .p = subject->params,
                         .g = subject->grads};
    bare->m = bench_subject_state(subject, first_slot);
    bare->v = second_slot == NULL ? NULL : bench_subject_state(subject, second_slot);
    if (recipe->master && (bare->master = bench_subject_state(subject, "master")) == NULL)
        return false;
    return bare->loops != NULL && bare->m != NULL && (second_slot == NULL || bare->v != NULL);
}

/* Shares of whole cache lines, equal to a line. */
static size_t share(const bench_bare *bare, int thread, int threads)
{
    const size_t wanted = bare->n / (size_t)threads * (size_t)thread / 64 * 64;
    return thread == threads ? bare->n : wanted;
}

static void pass_share(const bench_bare *bare, size_t begin, size_t n)
{
    const bench_loops *const loops = bare->loops;
    if (bare->master != NULL) {
        loops->stream26((uint16_t *)bare->p + begin, (const uint16_t *)bare->g + begin,
                        (float *)bare->master + begin, (float *)bare->m + begin,
                        (float *)bare->v + begin, 0, n);
        return;
    }
    if (bare->dtype == HONE_BF16) {
        loops->stream14((uint16_t *)bare->p + begin, (const uint16_t *)bare->g + begin,
                        (uint16_t *)bare->m + begin, (uint16_t *)bare->v + begin, 0, n);
        return;
    }
    float *const p = (float *)bare->p + begin, *const m = (float *)bare->m + begin;
    const float *const g = (const float *)bare->g + begin;
    if (bare->v == NULL)
        loops->stream20(p, g, m, n);
    else
        loops->stream28(p, g, m, (float *)bare->v + begin, n);
}

void bench_bare_pass(void *user)
{
    bench_bare *const bare = user;
    float sum = 0;
#pragma omp parallel num_threads(bare->threads) reduction(+ : sum)
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        const size_t begin = share(bare, thread, threads);
        const size_t n = share(bare, thread + 1, threads) - begin;
        if (bare->reads_first) {
            sum = bare->loops->read4((const float *)bare->g + begin, n);
#pragma omp barrier
        }
        pass_share(bare, begin, n);
    }
    bare->sum += sum;
}

double bench_bare_bytes(const bench_bare *bare)
{
    if (bare->master != NULL)
        return 26 * (double)bare->n;
    const double streams = bare->v == NULL ? 5 : 7;
    const double size = (double)hone_dtype_size(bare->dtype);
    return (double)bare->n * size * (streams + (bare->reads_first ? 1 : 0));
}
