/* SPDX-License-Identifier: Apache-2.0 */
/* No kernel reads or writes outside its arrays: each array touches a page that may not be accessed,
 * once at its end and once at its beginning. A stray access is a SIGSEGV that names the kernel. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel_test.h"

#define GUARDED_COUNT (4 + HONE_MAX_SLOTS)

static char current[LABEL_SIZE + 64];

static void report_fault(int number)
{
    (void)number;
    static const char text[] = "FAILED a kernel went outside its arrays: ";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0 ||
        write(STDERR_FILENO, current, strlen(current)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(3);
    _exit(1);
}

/* `room` accessible bytes between two pages that are not. */
static unsigned char *guarded_new(size_t room, size_t page)
{
    unsigned char *const all =
        mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, room, PROT_READ | PROT_WRITE) != 0) {
        perror("kernel tests: guard pages");
        exit(2);
    }
    return all + page;
}

static void *place(unsigned char *block, size_t room, size_t size, bool at_end)
{
    memset(block, 0, room);
    return at_end ? block + room - size : block;
}

static void run_case(unsigned char *const block[GUARDED_COUNT], size_t room,
                     const struct combination *combination, const struct hone_cpu_level *level,
                     size_t n, bool at_end)
{
    const struct formats *const formats = &combination->formats;
    const struct scenario scenario = scenario_make(combination, n);
    struct hone_chunk chunk = {.n = n};
    chunk.param = place(block[0], room, n * hone_format_size(formats->param), at_end);
    chunk.grad = place(block[1], room, n * hone_format_size(formats->grad), at_end);
    if (combination->form == HONE_FORM_MASKED)
        chunk.mask = place(block[2], room, (n + 31) / 32 * sizeof(uint32_t), at_end);
    if (formats->has_extra)
        chunk.extra = place(block[3], room, n * hone_format_size(formats->extra_format), at_end);
    for (int k = 0; k < formats->slot_count; k++)
        if ((formats->present >> k & 1u) != 0)
            chunk.slot[k] =
                place(block[4 + k], room, n * hone_format_size(formats->slot[k]), at_end);
    char name[LABEL_SIZE];
    combination_label(name, combination);
    snprintf(current, sizeof current, "%s_%s n %zu, at the %s", name, level->name, n,
             at_end ? "end" : "beginning");
    combination_kernel(combination, level)(&chunk, &scenario.scalars, &scenario.frame);
}

void suite_guard(void)
{
    static const size_t lengths[] = {0, 1, 2, 3, 5, 8, 13, 16, 21, 31, 32, 33, 64, 77, 509};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t room = (509 * sizeof(double) / page + 1) * page;
    unsigned char *block[GUARDED_COUNT];
    for (int k = 0; k < GUARDED_COUNT; k++)
        block[k] = guarded_new(room, page);
    struct sigaction action = {.sa_handler = report_fault};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    for (int i = 0; i < combination_count(); i++) {
        const struct combination combination = combination_at(i);
        for (int level = 0; level < hone_cpu_level_count(); level++)
            for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++)
                for (int at_end = 0; at_end < 2; at_end++)
                    run_case(block, room, &combination, hone_cpu_level_at(level), lengths[k],
                             at_end != 0);
    }
    for (int k = 0; k < GUARDED_COUNT; k++)
        munmap(block[k] - page, room + 2 * page);
}
