/* SPDX-License-Identifier: Apache-2.0 */
/* hone bench: how fast the library steps on this machine. The code is that of hone-bench, at a size
 * that takes seconds. */
#include <stdio.h>

#include "bench.h"
#include "command.h"
#include "options.h"
#include "report.h"

static int run_bench(int argc, char **argv)
{
    bool as_json = false, full = false;
    const char *only = NULL;
    const option options[] = {{.name = "json", .flag = &as_json},
                              {.name = "full", .flag = &full},
                              {.name = "only", .value = &only},
                              {0}};
    option_list list = {.command = "bench", .options = options};
    const int code = options_read(&list, argc, argv);
    if (code != 0)
        return code;
    bench_options wanted = full ? bench_full : bench_short;
    wanted.only = only;
    bench_results results;
    hone_error error;
    if (bench_run(&wanted, &results, &error) != HONE_OK)
        return report_error(&error);
    if (results.count == 0) {
        bench_results_free(&results);
        return report_failure("no case has \"%s\" in its name", only);
    }
    if (as_json)
        bench_write_json(&results, &wanted, full ? "hone bench --full" : "hone bench", stdout);
    else
        bench_print(&results, stdout);
    bench_results_free(&results);
    return EXIT_DONE;
}

const command command_bench = {
    .name = "bench",
    .summary = "Measures the step on this machine, against bare loops",
    .usage = "bench [--json] [--only TEXT] [--full]",
    .help = "Each case is measured together with what it is compared with; the ratio is the\n"
            "median over the repetitions. It takes seconds and 1 GB; --full takes minutes and\n"
            "5 GB.\n\n"
            "  --only TEXT  cases with TEXT in their names, such as \"stream\", \"in cache\",\n"
            "               \"tensors\" or a rule's name\n"
            "  --json       the results and the machine, for programs\n",
    .run = run_bench,
};
