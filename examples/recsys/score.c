/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks by sorting, and a bar of one line. */
#include "score.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void score_add(score *s, const float *chance, const float *clicked, size_t n)
{
    for (size_t i = 0; i < n; i++, s->count++) {
        s->chance[s->count % SCORE_WINDOW] = chance[i];
        s->clicked[s->count % SCORE_WINDOW] = clicked[i];
    }
}

struct ranked {
    float chance, clicked;
};

static int by_chance(const void *a, const void *b)
{
    const float x = ((const struct ranked *)a)->chance, y = ((const struct ranked *)b)->chance;
    return x < y ? -1 : x > y;
}

/* The share of pairs of a click and none that the chances put in the right order; ties count half. */
double score_auc(const score *s)
{
    const size_t n = s->count < SCORE_WINDOW ? s->count : SCORE_WINDOW;
    struct ranked *const list = malloc((n + 1) * sizeof *list);
    if (list == NULL)
        return 0.5;
    for (size_t i = 0; i < n; i++)
        list[i] = (struct ranked){s->chance[i], s->clicked[i]};
    qsort(list, n, sizeof *list, by_chance);
    double below = 0, pairs = 0, clicks = 0;
    for (size_t i = 0, end; i < n; i = end) {
        double same = 0, hits = 0;
        for (end = i; end < n && list[end].chance == list[i].chance; end++) {
            hits += (double)list[end].clicked;
            same += 1 - (double)list[end].clicked;
        }
        pairs += hits * (below + same / 2);
        below += same;
        clicks += hits;
    }
    free(list);
    return clicks > 0 && below > 0 ? pairs / (clicks * below) : 0.5;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(progress *p, int64_t first, int64_t total)
{
    *p = (progress){.first = first, .total = total, .start = now(), .terminal = isatty(2)};
    p->tenth = (int)(total > 0 ? first * 10 / total : 0);
}

double progress_seconds(const progress *p)
{
    return now() - p->start;
}

void progress_show(progress *p, int64_t done, const char *text)
{
    const double time = now();
    const int tenth = (int)(done * 10 / p->total);
    if (p->terminal && (time - p->drawn > 0.1 || done == p->total)) {
        char bar[31] = {0};
        for (int i = 0; i < 30; i++)
            bar[i] = i < (int)(done * 30 / p->total) ? '#' : '.';
        fprintf(stderr, "\r[%s] %3d%%  %s\x1b[K%s", bar, (int)(done * 100 / p->total), text,
                done == p->total ? "\n" : "");
        p->drawn = time;
    } else if (!p->terminal && tenth != p->tenth) {
        fprintf(stderr, "%3d%%  %s\n", tenth * 10, text);
        p->tenth = tenth;
    }
}
