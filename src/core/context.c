/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: the CPU level, the threads and the allocator that everything else uses. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/core.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define DEFAULT_ALIGNMENT 64 /* a cache line */

/* Large arrays of states start on a huge page and ask for more of them: fewer address translations
 * in a step that streams. The advice may be refused without harm. */
static void *default_allocate(size_t size, size_t alignment, void *user)
{
    (void)user;
    const bool large = size >= 2 * HUGE_PAGE;
    void *memory = NULL;
    if (posix_memalign(&memory, large ? HUGE_PAGE : alignment, size) != 0)
        return NULL;
    if (large)
        madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void default_release(void *memory, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(memory);
}

void *hone_allocate_aligned(const hone_context *context, size_t size, size_t alignment)
{
    const hone_allocator *const a = &context->allocator;
    return a->allocate(size == 0 ? 1 : size, alignment, a->user);
}

void *hone_allocate(const hone_context *context, size_t size)
{
    return hone_allocate_aligned(context, size, DEFAULT_ALIGNMENT);
}

void *hone_allocate_zeroed(const hone_context *context, size_t size)
{
    void *const memory = hone_allocate(context, size);
    return memory == NULL ? NULL : memset(memory, 0, size);
}

void hone_release(const hone_context *context, void *memory, size_t size)
{
    if (memory != NULL)
        context->allocator.release(memory, size == 0 ? 1 : size, context->allocator.user);
}

void *hone_reallocate(const hone_context *context, void *memory, size_t old_size, size_t new_size)
{
    void *const grown = hone_allocate(context, new_size);
    if (grown == NULL)
        return NULL;
    if (memory != NULL) {
        memcpy(grown, memory, old_size < new_size ? old_size : new_size);
        hone_release(context, memory, old_size);
    }
    return grown;
}

char *hone_copy_string(const hone_context *context, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *const copy = hone_allocate(context, size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void hone_string_free(const hone_context *context, char *string)
{
    if (context != NULL && string != NULL)
        hone_release(context, string, strlen(string) + 1);
}

void hone_context_options_init(hone_context_options *options)
{
    if (options == NULL)
        return;
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

static void join_levels(char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < hone_cpu_level_count() && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "" : ", ",
                                 hone_cpu_level_at(i)->name);
}

static bool known_level(const char *name)
{
    static const char *const known[] = {"base", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static hone_status choose_level(const struct hone_cpu_level **level, const char *name,
                                const char *source, hone_error *error)
{
    const int count = hone_cpu_level_count();
    if (name == NULL) {
        *level = hone_cpu_level_at(count - 1);
        return HONE_OK;
    }
    for (int i = 0; i < count; i++)
        if (strcmp(hone_cpu_level_at(i)->name, name) == 0) {
            *level = hone_cpu_level_at(i);
            return HONE_OK;
        }
    char have[96];
    join_levels(have, sizeof have);
    if (known_level(name))
        return hone_fail(error, HONE_ERROR_UNSUPPORTED,
                         "%s asks for the CPU level \"%s\"; this build on this machine has: %s",
                         source, name, have);
    return hone_fail(error, HONE_ERROR_NAME, "%s: \"%s\" is no CPU level; this machine has: %s",
                     source, name, have);
}

/* The options the caller's version of the header knew; the rest keep their defaults. */
static hone_status read_options(hone_context_options *all, const hone_context_options *given,
                                hone_error *error)
{
    hone_context_options_init(all);
    if (given == NULL)
        return HONE_OK;
    if (given->struct_size == 0 || given->struct_size > sizeof *all)
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "options->struct_size is %zu; hone_context_options_init sets it to %zu",
                         given->struct_size, sizeof *all);
    memcpy(all, given, given->struct_size);
    if (all->threads < 0)
        return hone_fail(error, HONE_ERROR_RANGE,
                         "options->threads is %d; it must be 0 (all) or more", all->threads);
    if ((all->allocator.allocate == NULL) != (all->allocator.release == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "options->allocator has only one of allocate and release; give both or "
                         "neither");
    if ((all->device_allocator.allocate == NULL) != (all->device_allocator.release == NULL))
        return hone_fail(error, HONE_ERROR_ARGUMENT,
                         "options->device_allocator has only one of allocate and release; give "
                         "both or neither");
    if (all->allocator.allocate == NULL)
        all->allocator = (hone_allocator){default_allocate, default_release, NULL};
    return HONE_OK;
}

hone_status hone_context_create(hone_context **context, const hone_context_options *options,
                                hone_error *error)
{
    if (context == NULL)
        return hone_fail(error, HONE_ERROR_ARGUMENT, "context is NULL");
    hone_context_options all;
    hone_status status = read_options(&all, options, error);
    if (status != HONE_OK)
        return status;
    if (all.allocator.allocate == NULL)
        all.allocator = (hone_allocator){default_allocate, default_release, NULL};

    const char *const environment = getenv("HONE_CPU");
    const bool from_environment = all.cpu == NULL && environment != NULL && environment[0] != '\0';
    const struct hone_cpu_level *level = NULL;
    status = choose_level(&level, from_environment ? environment : all.cpu,
                          from_environment ? "the environment variable HONE_CPU" : "options->cpu",
                          error);
    if (status != HONE_OK)
        return status;

    hone_context *const made =
        all.allocator.allocate(sizeof *made, DEFAULT_ALIGNMENT, all.allocator.user);
    if (made == NULL)
        return hone_fail_memory(error, sizeof *made, "a context");
    *made = (hone_context){.allocator = all.allocator,
                           .cpu = level,
                           .threads = all.threads > 0 ? all.threads : omp_get_max_threads(),
                           .seed = all.seed,
                           .log = all.log,
                           .log_user = all.log_user,
                           .device_allocator = all.device_allocator};
    *context = made;
    return HONE_OK;
}

void hone_context_free(hone_context *context)
{
    if (context == NULL)
        return;
    const hone_allocator allocator = context->allocator;
    allocator.release(context, sizeof *context, allocator.user);
}

const char *hone_context_cpu(const hone_context *context)
{
    return context == NULL ? NULL : context->cpu->name;
}

int hone_context_threads(const hone_context *context)
{
    return context == NULL ? 0 : context->threads;
}

uint64_t hone_context_seed(const hone_context *context)
{
    return context == NULL ? 0 : context->seed;
}

const char *hone_cpu_level(int index)
{
    const struct hone_cpu_level *const level = hone_cpu_level_at(index);
    return level == NULL ? NULL : level->name;
}

const char *hone_version(void)
{
    return HONE_VERSION_STRING;
}
