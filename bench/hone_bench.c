/* SPDX-License-Identifier: Apache-2.0 */
/* hone-bench: all benchmarks at full size, as a table on standard output and as JSON in a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"
#include "terminal/text.h"

static const char help[] =
    "usage: hone-bench [--short] [--elements N] [--repetitions N] [--only TEXT] [--out PATH]\n\n"
    "  --short          16 M elements and fewer repetitions, without GPT-2's shapes\n"
    "  --elements N     length of the large tensor; 64 M if not given\n"
    "  --repetitions N  of each long measurement; 31 if not given\n"
    "  --only TEXT      cases with TEXT in their names\n"
    "  --out PATH       also writes JSON there; in a directory, the date and the machine name\n"
    "                   the file\n\n"
    "Exit: 0 measured, 1 failed or a target was missed (with --strict), 2 wrong usage.\n"
    "  --strict         a missed target is a failure\n";

struct arguments {
    bench_options options;
    const char *out;
    bool strict;
};

static bool read_number(const char *text, int64_t most, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= 1 && *value <= most;
}

static bool read_value(struct arguments *arguments, const char *name, const char *value)
{
    int64_t number;
    if (strcmp(name, "--only") == 0) {
        arguments->options.only = value;
        return true;
    }
    if (strcmp(name, "--out") == 0) {
        arguments->out = value;
        return true;
    }
    if (strcmp(name, "--elements") == 0)
        return read_number(value, INT64_C(1) << 40, &arguments->options.elements);
    if (strcmp(name, "--repetitions") != 0 || !read_number(value, 100000, &number))
        return false;
    arguments->options.repetitions = (int)number;
    return true;
}

static bool read_arguments(struct arguments *arguments, int argc, char **argv)
{
    *arguments = (struct arguments){.options = bench_full};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            arguments->options = bench_short;
        else if (strcmp(argv[i], "--strict") == 0)
            arguments->strict = true;
        else if (i + 1 < argc && read_value(arguments, argv[i], argv[i + 1]))
            i++;
        else
            return false;
    }
    return true;
}

/* "2025-01-31-amd-epyc-2-threads.json" in a directory; `out` itself otherwise. */
static void name_file(char *path, size_t size, const char *out, const bench_results *results)
{
    struct stat about;
    if (stat(out, &about) != 0 || !S_ISDIR(about.st_mode)) {
        snprintf(path, size, "%s", out);
        return;
    }
    bench_machine machine;
    bench_describe_machine(&machine);
    for (char *c = machine.cpu; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        const bool capital = *c >= 'A' && *c <= 'Z';
        *c = letter ? *c : capital ? (char)(*c - 'A' + 'a') : '-';
    }
    snprintf(path, size, "%s/%.10s-%s-%s-%d-threads.json", out, machine.date, machine.cpu,
             results->cpu, results->threads);
}

static int write_file(const struct arguments *arguments, const bench_results *results,
                      const char *command)
{
    char path[1024];
    name_file(path, sizeof path, arguments->out, results);
    FILE *const file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "hone-bench: error: cannot write \"%s\": %s\n", path, strerror(errno));
        return 1;
    }
    bench_write_json(results, &arguments->options, command, file);
    const bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        fprintf(stderr, "hone-bench: error: cannot write \"%s\": %s\n", path, strerror(errno));
        return 1;
    }
    printf("\nwritten to %s\n", path);
    return 0;
}

static char *join(int argc, char **argv)
{
    size_t size = sizeof "hone-bench";
    for (int i = 1; i < argc; i++)
        size += strlen(argv[i]) + 1;
    char *const text = text_allocate(size);
    char *at = text + sprintf(text, "hone-bench");
    for (int i = 1; i < argc; i++)
        at += sprintf(at, " %s", argv[i]);
    return text;
}

int main(int argc, char **argv)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    struct arguments arguments;
    if (!read_arguments(&arguments, argc, argv)) {
        fputs(help, stderr);
        return 2;
    }
    bench_results results;
    hone_error error;
    if (bench_run(&arguments.options, &results, &error) != HONE_OK) {
        fprintf(stderr, "hone-bench: error: %s\n", error.message);
        return 1;
    }
    bench_print(&results, stdout);
    char *const command = join(argc, argv);
    int code = arguments.out == NULL ? 0 : write_file(&arguments, &results, command);
    free(command);
    for (int i = 0; arguments.strict && i < results.count; i++)
        if (!bench_reached(&results.list[i]))
            code = 1;
    bench_results_free(&results);
    return code;
}
