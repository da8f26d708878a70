/* SPDX-License-Identifier: Apache-2.0 */
/* Kills a run that saves after every step, at many moments, and goes on from what is left: every
 * checkpoint that has its name must be whole. Usage: gpt_test_kill RECIPE TEXT, with gpt_train
 * beside it. */
#define _XOPEN_SOURCE 700

#include "files.h"
#include "process.h"
#include "report.h"

#include <hone/hone.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 8, QUICK_ROUNDS = 2 };

static const char out[] = "killed";

static void sleep_milliseconds(long count)
{
    const struct timespec time = {count / 1000, count % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static pid_t start(const char *const *arguments)
{
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) != NULL)
            execv(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    return child;
}

/* Waits until the run has saved once, then for `delay` more, and kills it. */
static int run_and_kill(const char *train, const char *recipe, const char *text, long delay)
{
    const char *const arguments[] = {train, "--recipe", recipe,   "--text", text, "--save-every",
                                     "1",   "--steps",  "100000", "--out",  out,  NULL};
    const char *const first = "killed/step-000001";
    struct stat status;
    const pid_t child = start(arguments);
    if (child < 0)
        return failure("cannot fork");
    for (int i = 0; i < 60000 && stat(first, &status) != 0; i++)
        sleep_milliseconds(1);
    sleep_milliseconds(delay);
    int ended = 0;
    if (kill(child, SIGKILL) != 0 || waitpid(child, &ended, 0) != child)
        return failure("cannot kill the run");
    if (!WIFSIGNALED(ended) || WTERMSIG(ended) != SIGKILL)
        return failure("the run ended by itself with status %d", ended);
    return 0;
}

static int check_file(const hone_context *context, const char *directory, const char *name)
{
    char path[PATH_SIZE];
    hone_file *file = NULL;
    hone_error error;
    if (path_join(path, directory, name) != 0)
        return -1;
    const hone_status status = hone_file_open(&file, context, path, &error);
    hone_file_close(file);
    return status == HONE_OK ? 0 : failure("%s", error.message);
}

static int resume(const char *train, const char *recipe, const char *text, const char *checkpoint)
{
    char steps[32];
    snprintf(steps, sizeof steps, "%ld", strtol(strrchr(checkpoint, '-') + 1, NULL, 10) + 1);
    const char *const arguments[] = {train, "--recipe", recipe,     "--text", text,      "--steps",
                                     steps, "--resume", checkpoint, "--out",  "resumed", NULL};
    int ended = -1;
    const pid_t child = start(arguments);
    if (child < 0 || waitpid(child, &ended, 0) != child || ended != 0)
        return failure("'%s' cannot be resumed: status %d", checkpoint, ended);
    return 0;
}

static void remove_tree(const char *directory)
{
    const char *const arguments[] = {"rm", "-rf", directory, NULL};
    process_run(arguments);
}

/* Every checkpoint opens; the last one can be resumed. */
static int check_what_is_left(const hone_context *context, const char *train, const char *recipe,
                              const char *text, int *saved)
{
    name_list list = {0};
    int result = list_directory(&list, out, "");
    const char *last = NULL;
    for (int i = 0; result == 0 && i < list.count; i++) {
        if (strstr(list.names[i], "/step-") == NULL)
            continue;
        last = list.names[i];
        ++*saved;
        result = check_file(context, last, "parameters.safetensors");
        if (result == 0)
            result = check_file(context, last, "optimizer.safetensors");
    }
    if (result == 0 && last == NULL)
        result = failure("the run was killed before it had saved anything");
    if (result == 0)
        result = resume(train, recipe, text, last);
    name_list_free(&list);
    return result;
}

static int test(const char *recipe, const char *text)
{
    char train[PATH_SIZE];
    hone_context *context = NULL;
    hone_error error;
    if (process_sibling(train, "gpt_train") != 0)
        return -1;
    if (hone_context_create(&context, NULL, &error) != HONE_OK)
        return failure("%s", error.message);
    const int rounds = getenv("HONE_TEST_QUICK") != NULL ? QUICK_ROUNDS : ROUNDS;
    int result = 0, saved = 0;
    for (int round = 0; result == 0 && round < rounds; round++) {
        remove_tree(out);
        result = run_and_kill(train, recipe, text, 7 * round);
        if (result == 0)
            result = check_what_is_left(context, train, recipe, text, &saved);
    }
    remove_tree(out);
    remove_tree("resumed");
    hone_context_free(context);
    if (result == 0)
        printf("%d runs killed, %d checkpoints left, all whole\n", rounds, saved);
    return result;
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/gpt-kill-XXXXXX";
    char recipe[PATH_SIZE], text[PATH_SIZE];
    report_as(argv[0]);
    if (argc != 3 || realpath(argv[1], recipe) == NULL || realpath(argv[2], text) == NULL) {
        failure("usage: %s RECIPE TEXT", argv[0]);
        return 2;
    }
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) {
        failure("cannot make a temporary directory");
        return 1;
    }
    const int result = test(recipe, text);
    if (chdir("/") != 0 || rmdir(directory) != 0)
        warning("'%s' is left behind", directory);
    return result == 0 ? 0 : 1;
}
