/* SPDX-License-Identifier: Apache-2.0 */
/* Which machine a result comes from. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* The value of the first line of /proc/cpuinfo that begins with `key`. */
static bool read_cpuinfo(const char *key, char *value, size_t size)
{
    FILE *const file = fopen("/proc/cpuinfo", "r");
    char line[512];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        const char *const colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || colon == NULL)
            continue;
        snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
        value[strcspn(value, "\n")] = '\0';
        found = true;
    }
    if (file != NULL)
        fclose(file);
    return found;
}

void bench_describe_machine(bench_machine *machine)
{
    *machine = (bench_machine){0};
    struct utsname about;
    const bool named = uname(&about) == 0;
    if (!read_cpuinfo("model name", machine->cpu, sizeof machine->cpu) &&
        !read_cpuinfo("CPU part", machine->cpu, sizeof machine->cpu))
        snprintf(machine->cpu, sizeof machine->cpu, "%.64s", named ? about.machine : "unknown");
    if (named)
        snprintf(machine->system, sizeof machine->system, "%.32s %.48s %.32s", about.sysname,
                 about.release, about.machine);
    machine->cores = sysconf(_SC_NPROCESSORS_ONLN);
    machine->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) != NULL)
        strftime(machine->date, sizeof machine->date, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
