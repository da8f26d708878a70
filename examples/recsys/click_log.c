/* SPDX-License-Identifier: Apache-2.0 */
/* The generator: counter-based noise, so that any event can be made at any time. */
#include "click_log.h"

#include <math.h>

#define USERS 3000000.0
#define CATEGORIES 300
#define FIRST_ITEMS 20000.0
#define EVENTS_PER_ITEM 6.0 /* an item is born every so many events */
#define TASTES 6

uint64_t click_log_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static double uniform(uint64_t stream, uint64_t i)
{
    return (double)(click_log_mix(stream * 0x2545f4914f6cdd1du ^ click_log_mix(i)) >> 11) * 0x1p-53;
}

/* Ranks 0 to n - 1, rank r with a chance close to 1 / (r + 1). */
static double zipf(double n, double u)
{
    return floor(exp(u * log(n + 1)) - 1);
}

/* A hidden number in [-1, 1] of an id. */
static double trait(uint64_t kind, int64_t id, uint64_t which)
{
    return 2 * uniform(1000 + kind * 100 + which, (uint64_t)id) - 1;
}

click click_log_event(uint64_t i)
{
    click event;
    const double born = FIRST_ITEMS + floor((double)i / EVENTS_PER_ITEM);
    const double user = zipf(USERS, uniform(1, i));
    const double item = born - 1 - zipf(born, uniform(2, i));
    event.id[LOG_USER] = (int64_t)click_log_mix((uint64_t)user);
    event.id[LOG_ITEM] = (int64_t)click_log_mix((uint64_t)item + ((uint64_t)1 << 40));
    event.id[LOG_CATEGORY] = (int64_t)((uint64_t)event.id[LOG_ITEM] % CATEGORIES) - CATEGORIES / 2;
    double score = -1 + 1.5 * trait(2, event.id[LOG_CATEGORY], 9) + trait(1, event.id[LOG_ITEM], 9);
    for (uint64_t k = 0; k < TASTES; k++)
        score += 2.5 * trait(0, event.id[LOG_USER], k) * trait(2, event.id[LOG_CATEGORY], k);
    event.clicked = uniform(3, i) < 1 / (1 + exp(-score));
    return event;
}
