/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing files while system calls fail and while the writer is killed at any of them: the target
 * is the old file or the whole new one, and what is left beside it is nothing, or goes with a later
 * write once it is old enough. */
#include "support/checks.h"
#include "support/fixtures.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define HOUR (60 * 60)
#define PATH_SIZE (2 * FOLDER_SIZE)

/* ---- system calls that fail or kill ---------------------------------------------------------- */

/* The calls that a writer makes, in its order; the program's own definitions below stand before the
 * C library's. */
static struct {
    int calls, at;       /* the number of the call, from 1, at which something happens; 0: none */
    int code;            /* what: an errno, or 0: the process is killed before the call */
    int most;            /* bytes that one call writes; 0: all */
    char order[256];     /* a letter for each call */
    char created[64];    /* the last name under which a file was to be made */
    bool without_random; /* as where there is no getrandom */
    int same;            /* so often the number drawn is 0x1234 */
    bool others_are_faster; /* what is to be unlinked is gone already */
    bool taken_away;        /* what is to be renamed is gone already */
} injected;

static bool strikes(char letter)
{
    if (injected.calls + 1 < (int)sizeof injected.order)
        injected.order[injected.calls] = letter;
    if (++injected.calls != injected.at)
        return false;
    if (injected.code == 0)
        kill(getpid(), SIGKILL);
    errno = injected.code;
    return true;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    const char *const slash = strrchr(path, '/');
    if ((flags & O_CREAT) != 0 && slash != NULL)
        snprintf(injected.created, sizeof injected.created, "%s", slash + 1);
    if (strikes((flags & O_CREAT) != 0 ? 'c' : 'o'))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    if (strikes('w'))
        return -1;
    const size_t most = (size_t)injected.most;
    return syscall(SYS_write, descriptor, bytes, most > 0 && size > most ? most : size);
}

int fsync(int descriptor)
{
    return strikes('s') ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int fchmod(int descriptor, mode_t mode)
{
    return strikes('m') ? -1 : (int)syscall(SYS_fchmod, descriptor, mode);
}

int rename(const char *from, const char *to)
{
    if (injected.taken_away)
        unlink(from);
    return strikes('r') ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int directory, const char *path, int flags)
{
    if (injected.others_are_faster)
        assert_int_equal(syscall(SYS_unlinkat, directory, path, flags), 0);
    return (int)syscall(SYS_unlinkat, directory, path, flags);
}

ssize_t getrandom(void *bytes, size_t size, unsigned flags)
{
    if (injected.without_random) {
        errno = ENOSYS;
        return -1;
    }
    if (injected.same == 0)
        return syscall(SYS_getrandom, bytes, size, flags);
    injected.same--;
    const uint64_t number = 0x1234;
    assert_int_equal(size, sizeof number);
    memcpy(bytes, &number, sizeof number);
    return sizeof number;
}

static void inject_nothing(void)
{
    memset(&injected, 0, sizeof injected);
}

/* ---- files ----------------------------------------------------------------------------------- */

static char folder[FOLDER_SIZE];
static char target[PATH_SIZE];

static int open_folder(void **state)
{
    make_folder(folder);
    snprintf(target, sizeof target, "%s/target", folder);
    inject_nothing();
    return open_context(state);
}

static int close_folder(void **state)
{
    inject_nothing();
    remove_folder(folder);
    return close_context(state);
}

/* A file of one tensor of so many bytes, all of them `value`. */
static hone_status save(unsigned char value, int64_t size)
{
    unsigned char *const bytes = malloc((size_t)size);
    memset(bytes, value, (size_t)size);
    const hone_file_entry entry = {"w", hone_tensor_view(bytes, HONE_U8, 1, &size)};
    const hone_status status = hone_file_write(context, target, &entry, 1, NULL, 0, &problem);
    free(bytes);
    return status;
}

/* The value that a whole file holds; -1: there is no file. */
static int value_of(const char *path, int64_t size)
{
    hone_file *file = NULL;
    hone_tensor tensor;
    if (access(path, F_OK) != 0)
        return -1;
    OK(hone_file_open(&file, context, path, &problem));
    OK(hone_file_tensor(file, 0, &tensor, &problem));
    assert_int_equal(hone_tensor_numel(&tensor), size);
    const unsigned char *const bytes = tensor.data;
    for (int64_t i = 1; i < size; i++)
        assert_int_equal(bytes[i], bytes[0]);
    const int value = bytes[0];
    hone_file_close(file);
    return value;
}

/* Files beside the target; the path of one of them. */
static int beside(char path[PATH_SIZE])
{
    DIR *const directory = opendir(folder);
    assert_non_null(directory);
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "target") != 0) {
            if (path != NULL)
                assert_true(snprintf(path, PATH_SIZE, "%s/%.50s", folder, entry->d_name) <
                            PATH_SIZE);
            count++;
        }
    closedir(directory);
    return count;
}

/* Makes a file old by the clock of the file system. */
static void age(const char *path, time_t seconds)
{
    struct stat now;
    assert_int_equal(lstat(path, &now), 0);
    struct timespec times[2] = {now.st_mtim, now.st_mtim};
    times[0].tv_sec -= seconds;
    times[1].tv_sec -= seconds;
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void put(const char *name, time_t seconds)
{
    char path[PATH_SIZE];
    assert_true(snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_SIZE);
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(descriptor >= 0);
    close(descriptor);
    age(path, seconds);
}

static bool is_there(const char *name)
{
    char path[PATH_SIZE];
    struct stat found;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &found) == 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Data before the rename, the folder last. */
static void syncs_in_order(void **state)
{
    (void)state;
    assert_int_equal(save(1, 8), HONE_OK);
    assert_string_equal(injected.order, "cwwwsros");
    inject_nothing();
    assert_int_equal(save(1, 8), HONE_OK);
    assert_string_equal(injected.order, "cmwwwsros");
}

/* Call after call fails, for good or once. */
static void failing_calls_change_nothing(void **state)
{
    (void)state;
    static const int codes[] = {EIO, ENOSPC, EDQUOT, EROFS, EINTR, EEXIST, EINVAL};
    int failures = 0, successes = 0;
    for (size_t c = 0; c < COUNT(codes); c++)
        for (int at = 1, done = 0; !done; at++) {
            inject_nothing();
            assert_int_equal(save(1, 100), HONE_OK);
            inject_nothing();
            injected.most = 30; /* several calls write the file */
            injected.at = at;
            injected.code = codes[c];
            const hone_status status = save(2, 100);
            done = injected.calls < at;
            inject_nothing();
            assert_true(status == HONE_OK || status == HONE_ERROR_IO);
            assert_true(status == HONE_OK || strstr(problem.message, "target") != NULL);
            assert_int_equal(value_of(target, 100), status == HONE_OK ? 2 : 1);
            assert_int_equal(beside(NULL), 0);
            failures += status != HONE_OK;
            successes += status == HONE_OK;
        }
    assert_true(failures > 30);
    assert_true(successes > (int)COUNT(codes)); /* some of them are not the end */
}

/* ---- names ----------------------------------------------------------------------------------- */

/* With the system's random numbers, and with the clock's. */
static void no_name_comes_twice(void **state)
{
    (void)state;
    enum { TIMES = 50 };
    static char names[2 * TIMES][sizeof injected.created];
    for (int i = 0; i < 2 * TIMES; i++) {
        injected.without_random = i >= TIMES;
        assert_int_equal(save(1, 8), HONE_OK);
        strcpy(names[i], injected.created);
        assert_int_equal(strlen(names[i]), strlen(".hone-0123456789abcdef.tmp"));
        assert_int_equal(strspn(names[i] + 6, "0123456789abcdef"), 16);
        assert_int_equal(strncmp(names[i], ".hone-", 6), 0);
        assert_string_equal(names[i] + 22, ".tmp");
        for (int earlier = 0; earlier < i; earlier++)
            assert_string_not_equal(names[i], names[earlier]);
    }
}

static void a_name_in_use_is_stepped_over(void **state)
{
    (void)state;
    static const char taken[] = ".hone-0000000000001234.tmp";
    put(taken, 0);
    injected.same = 3;
    assert_int_equal(save(1, 8), HONE_OK);
    assert_string_equal(injected.order + strspn(injected.order, "c"), "wwwsros");
    assert_int_equal(strspn(injected.order, "c"), 1 + 3 + 1); /* the first one is of `put` */
    assert_true(is_there(taken));
    injected.same = 1000000; /* randomness is broken */
    assert_int_equal(save(2, 8), HONE_ERROR_IO);
    assert_non_null(strstr(problem.message, "File exists"));
    assert_int_equal(value_of(target, 8), 1);
    assert_true(is_there(taken));
}

/* ---- writers that end ------------------------------------------------------------------------ */

/* Runs `write` in a child that may not survive it. */
static int how_it_ended(void (*write_in_child)(void))
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        write_in_child();
        _exit(0);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void save_two(void)
{
    _exit(save(2, 100) == HONE_OK ? 0 : 1);
}

/* Killed before each of its calls: at most one file is left, and it goes a day later. */
static void killed_at_any_call(void **state)
{
    (void)state;
    int left = 0;
    for (int at = 1, done = 0; !done; at++) {
        inject_nothing();
        assert_int_equal(save(1, 100), HONE_OK);
        inject_nothing();
        injected.most = 30;
        injected.at = at;
        const int how = how_it_ended(save_two);
        inject_nothing();
        done = WIFEXITED(how);
        assert_true(done ? WEXITSTATUS(how) == 0 : WTERMSIG(how) == SIGKILL);
        const int value = value_of(target, 100);
        assert_true(value == (done ? 2 : value == 2 ? 2 : 1));
        char path[PATH_SIZE] = "";
        const int count = beside(path);
        assert_true(count <= 1);
        left += count;
        if (count == 1) {
            assert_int_equal(value, 1);
            age(path, 23 * HOUR);
            assert_int_equal(save(3, 100), HONE_OK);
            assert_int_equal(beside(NULL), 1);
            age(path, 2 * HOUR);
            assert_int_equal(save(3, 100), HONE_OK);
            assert_int_equal(beside(NULL), 0);
        }
    }
    assert_true(left > 5);
}

static void save_too_much(void)
{
    const struct rlimit limit = {20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_DFL);
    save(2, 100000);
}

/* The system's own signal for a file that grows too large ends the child in the midst of the
 * tensor. */
static void killed_in_the_midst_of_a_write(void **state)
{
    (void)state;
    assert_int_equal(save(1, 100), HONE_OK);
    const int how = how_it_ended(save_too_much);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGXFSZ);
    assert_int_equal(value_of(target, 100), 1);
    assert_int_equal(beside(NULL), 1);
}

/* ---- leftovers ------------------------------------------------------------------------------- */

/* The name of a temporary file; the static text is good for one use. */
static const char *temporary(unsigned number)
{
    static char name[32];
    snprintf(name, sizeof name, ".hone-%016x.tmp", number);
    return name;
}

/* What is younger than a day may be another process's, wherever that runs; and other names are
 * other programs'. */
static void only_old_leftovers_go(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    static const char *const others[] = {
        "hone-0123456789abcdef.tmp",    ".hone-0123456789abcdef.tmp~",
        ".hone-0123456789abcdef",       ".hone-0123456789abcde.tmp",
        ".hone-0123456789abcdef0.tmp",  ".hone-0123456789ABCDEF.tmp",
        ".hone-0123456789abcdeg.tmp",   ".hone-.tmp",
        ".hone--123456789abcdef.tmp",   ".hone- 123456789abcdef.tmp",
        ".hone-0123456789abcdef.tm",    ".hone_0123456789abcdef.tmp",
        ".hone-0x23456789abcdef.tmp",   ".hone-7-0.tmp",
        ".hone-0123456789abcdef-1.tmp", "x.hone-0123456789abcdef.tmp",
    };
    put(".hone-0123456789abcdef.tmp", 1000 * HOUR);
    put(temporary(1), 25 * HOUR);
    put(temporary(2), 23 * HOUR);
    put(temporary(3), 0);
    put(temporary(4), -48 * HOUR); /* of tomorrow: a clock was set back */
    for (size_t i = 0; i < COUNT(others); i++)
        put(others[i], 1000 * HOUR);
    snprintf(path, sizeof path, "%s/%s", folder, temporary(5));
    assert_int_equal(symlink("target", path), 0);
    age(path, 25 * HOUR);
    snprintf(path, sizeof path, "%s/%s", folder, temporary(6));
    assert_int_equal(mkdir(path, 0700), 0);
    age(path, 25 * HOUR);
    assert_int_equal(save(1, 100), HONE_OK);
    assert_int_equal(value_of(target, 100), 1);
    assert_false(is_there(".hone-0123456789abcdef.tmp"));
    assert_false(is_there(temporary(1)));
    for (unsigned i = 2; i <= 6; i++)
        assert_true(is_there(temporary(i)));
    for (size_t i = 0; i < COUNT(others); i++)
        assert_true(is_there(others[i]));
    assert_int_equal(rmdir(path), 0);
}

/* Another writer removes a leftover between this one's look at it and its unlink. */
static void leftovers_may_vanish(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        put(temporary(i), 25 * HOUR);
    injected.others_are_faster = true;
    assert_int_equal(save(1, 100), HONE_OK);
    assert_int_equal(value_of(target, 100), 1);
    assert_int_equal(beside(NULL), 0);
}

/* A writer that slept for more than a day finds its file removed. */
static void a_lost_file_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(save(1, 100), HONE_OK);
    injected.taken_away = true;
    assert_int_equal(save(2, 100), HONE_ERROR_IO);
    assert_non_null(strstr(problem.message, "cannot replace '"));
    assert_non_null(strstr(problem.message, "No such file"));
    assert_int_equal(value_of(target, 100), 1);
    assert_int_equal(beside(NULL), 0);
}

static void other_users_files_stay(void **state)
{
    (void)state;
    char path[PATH_SIZE];
    if (geteuid() != 0)
        SKIP("giving files to another user takes the superuser");
    put(temporary(1), 25 * HOUR);
    put(temporary(2), 25 * HOUR);
    snprintf(path, sizeof path, "%s/%s", folder, temporary(2));
    assert_int_equal(chown(path, 12345, 12345), 0);
    assert_int_equal(save(1, 100), HONE_OK);
    assert_false(is_there(temporary(1)));
    assert_true(is_there(temporary(2)));
}

/* What fills the disk may be the leftovers: they are gone before a writer that then fails. */
static void leftovers_go_before_the_writing(void **state)
{
    (void)state;
    assert_int_equal(save(1, 100), HONE_OK);
    put(temporary(1), 25 * HOUR);
    inject_nothing();
    injected.at = 3; /* behind the creation and the mode */
    injected.code = ENOSPC;
    assert_int_equal(save(2, 100), HONE_ERROR_IO);
    assert_non_null(strstr(problem.message, "No space left"));
    inject_nothing();
    assert_int_equal(beside(NULL), 0);
    assert_int_equal(value_of(target, 100), 1);
}

static void write_as_nobody(void)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(9);
    const bool named = save(2, 100) == HONE_ERROR_IO &&
                       strstr(problem.message, "cannot create a "
                                               "file beside") &&
                       strstr(problem.message, "Permission denied");
    _exit(named ? 0 : 1);
}

static void a_read_only_folder_is_named(void **state)
{
    (void)state;
    assert_int_equal(save(1, 100), HONE_OK);
    assert_int_equal(chmod(target, 0666), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    const int how = how_it_ended(write_as_nobody);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(value_of(target, 100), 1);
    assert_int_equal(beside(NULL), 0);
}

/* A folder that may be written to, but not listed, keeps its leftovers and takes the file. */
static void write_unlisted(void)
{
    if (geteuid() == 0 &&
        (chown(folder, 65534, 65534) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        _exit(9);
    if (chmod(folder, 0300) != 0)
        _exit(8);
    _exit(save(2, 100) == HONE_OK ? 0 : 1);
}

static void a_folder_that_cannot_be_listed_is_written_to(void **state)
{
    (void)state;
    put(temporary(1), 25 * HOUR);
    const int how = how_it_ended(write_unlisted);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(value_of(target, 100), 2);
    assert_true(is_there(temporary(1)));
}

enum { RACES = 40 };

static void save_often(void)
{
    for (int i = 0; i < RACES; i++)
        if (save((unsigned char)(getpid() % 200), 5000) != HONE_OK)
            _exit(1);
}

/* Writers of one file at the same time, among leftovers that each of them may remove. */
static void racing_writers_leave_a_whole_file(void **state)
{
    (void)state;
    pid_t children[3];
    for (unsigned i = 0; i < 60; i++)
        put(temporary(i), 25 * HOUR);
    for (size_t i = 0; i < COUNT(children); i++)
        if ((children[i] = fork()) == 0) {
            save_often();
            _exit(0);
        }
    int running = (int)COUNT(children);
    while (running > 0) {
        int how = 0;
        const pid_t ended = waitpid(-1, &how, WNOHANG);
        running -= ended > 0;
        assert_true(ended == 0 || (WIFEXITED(how) && WEXITSTATUS(how) == 0));
        value_of(target, 5000);
        usleep(1000);
    }
    assert_true(value_of(target, 5000) >= 0);
    assert_int_equal(beside(NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_folder, close_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(syncs_in_order),
        TEST(failing_calls_change_nothing),
        TEST(no_name_comes_twice),
        TEST(a_name_in_use_is_stepped_over),
        TEST(killed_at_any_call),
        TEST(killed_in_the_midst_of_a_write),
        TEST(only_old_leftovers_go),
        TEST(leftovers_may_vanish),
        TEST(a_lost_file_is_an_error),
        TEST(other_users_files_stay),
        TEST(leftovers_go_before_the_writing),
        TEST(a_read_only_folder_is_named),
        TEST(a_folder_that_cannot_be_listed_is_written_to),
        TEST(racing_writers_leave_a_whole_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
