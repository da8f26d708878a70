/* SPDX-License-Identifier: Apache-2.0 */
/* fork, exec and waitpid. */
#define _POSIX_C_SOURCE 200809L

#include "process.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int process_sibling(char path[PATH_SIZE], const char *name)
{
    char self[PATH_SIZE];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return failure("cannot read /proc/self/exe: %s", strerror(errno));
    self[length] = '\0';
    char *const slash = strrchr(self, '/');
    if (slash == NULL)
        return failure("'%s' is no path of a program", self);
    *slash = '\0';
    return path_join(path, self, name);
}

/* The child, or -1. */
static pid_t start(const char *directory, const char *const *arguments)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child != 0)
        return child;
    if (directory == NULL || chdir(directory) == 0)
        execvp(arguments[0], (char *const *)arguments);
    _exit(127);
}

int process_run_in(const char *directory, const char *const *arguments)
{
    const pid_t child = start(directory, arguments);
    int status = 0;
    if (child < 0)
        return 127;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int process_run(const char *const *arguments)
{
    return process_run_in(NULL, arguments);
}
