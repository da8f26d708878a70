/* SPDX-License-Identifier: Apache-2.0 */
#include "support/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t seen, taken;

/* A number of at most six digits that does not begin with 0, and what follows it. */
static bool parse_number(const char **text, size_t *number)
{
    const size_t digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > 6 || **text == '0')
        return false;
    *number = strtoul(*text, NULL, 10);
    *text += digits;
    return true;
}

bool shard_parse(const char *text, struct shard *shard)
{
    size_t index, count;
    if (text == NULL) {
        *shard = (struct shard){0, 1};
        return true;
    }
    if (!parse_number(&text, &index) || *text++ != '/' || !parse_number(&text, &count) ||
        *text != '\0' || index > count)
        return false;
    *shard = (struct shard){index - 1, count};
    return true;
}

/* Of each `count` cases in a row a shard has one. It is not always the same one of the row, since kinds
 * of cases often take turns and differ in length. */
bool shard_has(struct shard shard, size_t number)
{
    return (number + number / shard.count) % shard.count == shard.index;
}

static struct shard own_shard(void)
{
    struct shard shard;
    const char *const text = getenv("HONE_TEST_SHARD");
    if (!shard_parse(text, &shard)) {
        fprintf(stderr, "HONE_TEST_SHARD is \"%s\"; it must be like 3/16\n", text);
        exit(2);
    }
    return shard;
}

bool shard_takes(const char *law, const char *subject)
{
    const char *const list = getenv("HONE_TEST_LIST");
    const size_t number = seen++;
    if (!shard_has(own_shard(), number))
        return false;
    taken++;
    if (list == NULL || strcmp(list, "1") != 0)
        return true;
    printf("case %zu: %s: %s\n", number, law, subject);
    return false;
}

int shard_end(int result)
{
    const struct shard shard = own_shard();
    printf("shard %zu of %zu: %zu of %zu cases\n", shard.index + 1, shard.count, taken, seen);
    return result;
}
