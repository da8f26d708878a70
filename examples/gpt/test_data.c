/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the corpus on a small tree made in a temporary directory: which files are read and in
 * which order, the split, that batches repeat and shift by one, and the sentences of failures. */
#define _POSIX_C_SOURCE 200809L

#include "data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 7, CONTEXT = 5 };

static int failures;

static void check(int condition, const char *what)
{
    if (condition)
        return;
    printf("FAILED: %s\n", what);
    failures++;
}

static const char *const directories[] = {"text", "text/build", "text/.git", "text/inner"};

/* 100 equal bytes each, so that the corpus shows where its bytes come from. */
static const struct {
    const char *path;
    int letter; /* upper case: must be left out */
} files[] = {
    {"text/z.c", 'z'},        {"text/a.md", 'a'},        {"text/inner/m.txt", 'm'},
    {"text/build.h", 'b'},    {"text/picture.svg", 'P'}, {"text/build/generated.c", 'G'},
    {"text/.git/x.txt", 'X'}, {"text/.hidden.txt", 'H'}, {"text/none", 'N'},
};

enum { N_DIRECTORIES = sizeof directories / sizeof directories[0] };
enum { N_FILES = sizeof files / sizeof files[0] };

static void make_tree(void)
{
    for (int i = 0; i < N_DIRECTORIES; i++)
        if (mkdir(directories[i], 0777) != 0)
            check(0, "a directory could not be made");
    for (int i = 0; i < N_FILES; i++) {
        FILE *file = fopen(files[i].path, "wb");
        for (int k = 0; file != NULL && k < 100; k++)
            fputc(files[i].letter, file);
        check(file != NULL && fclose(file) == 0, "a file could not be written");
    }
}

static void remove_tree(void)
{
    for (int i = 0; i < N_FILES; i++)
        unlink(files[i].path);
    for (int i = N_DIRECTORIES - 1; i >= 0; i--)
        rmdir(directories[i]);
}

static void expect_runs(const uint8_t *bytes, size_t size, const char *letters, size_t run,
                        const char *what)
{
    int right = size == strlen(letters) * run;
    for (size_t i = 0; right && i < size; i++)
        right = bytes[i] == (uint8_t)letters[i / run];
    check(right, what);
}

static void test_tree(void)
{
    const char *paths[] = {"text", "text/none"};
    corpus text;
    char problem[256] = "";
    check(corpus_load(&text, paths, 2, CONTEXT, problem, sizeof problem) == 0, "the tree loads");
    check(text.n_files == 5, "five files are read");
    expect_runs(text.train, text.train_size, "abmzN", 90,
                "the first nine tenths of each file, sorted, then the file that was named");
    expect_runs(text.held_out, text.held_out_size, "abmzN", 10, "the last tenth of each file");
    corpus_free(&text);
    check(text.train == NULL && text.held_out_size == 0, "a freed corpus is empty");
}

static void test_batches(void)
{
    uint8_t bytes[2000];
    for (int i = 0; i < 2000; i++)
        bytes[i] = (uint8_t)(i % 251);
    const corpus text = {
        .train = bytes, .train_size = 1500, .held_out = bytes + 1500, .held_out_size = 500};
    uint8_t inputs[BATCH * CONTEXT];
    uint8_t targets[BATCH * CONTEXT];
    uint8_t again[BATCH * CONTEXT];
    uint8_t other[BATCH * CONTEXT];
    corpus_batch(&text, 1, 40, BATCH, CONTEXT, other, targets);
    corpus_batch(&text, 1, 41, BATCH, CONTEXT, inputs, targets);
    int shifted = 1;
    for (int i = 0; i < BATCH * CONTEXT; i++)
        shifted = shifted && targets[i] == (inputs[i] + 1) % 251;
    check(shifted, "targets are the inputs one byte later");
    check(memcmp(inputs, other, sizeof inputs) != 0, "another step draws another batch");
    corpus_batch(&text, 2, 41, BATCH, CONTEXT, other, targets);
    check(memcmp(inputs, other, sizeof inputs) != 0, "another seed draws another batch");
    corpus_batch(&text, 1, 41, BATCH, CONTEXT, again, targets);
    check(memcmp(inputs, again, sizeof inputs) == 0, "the same seed and step draw the same batch");
    corpus_held_out_batch(&text, 0, 3, BATCH, CONTEXT, inputs, targets);
    check(inputs[0] == 1500 % 251, "held-out batches start at the first held-out byte");
    corpus_held_out_batch(&text, 2, 3, BATCH, CONTEXT, inputs, targets);
    check(targets[BATCH * CONTEXT - 1] == 1999 % 251, "and end at the last");
}

/* With one byte more than a sequence needs there are two starts, and with none more just one;
 * every draw must stay inside (valgrind and sanitizers see it if not). */
static void test_shortest(void)
{
    uint8_t bytes[CONTEXT + 1] = {0, 1, 2, 3, 4, 5};
    const corpus text = {
        .train = bytes, .train_size = CONTEXT + 1, .held_out = bytes, .held_out_size = CONTEXT + 1};
    uint8_t inputs[BATCH * CONTEXT];
    uint8_t targets[BATCH * CONTEXT];
    int inside = 1;
    for (int step = 0; step < 100; step++) {
        corpus_batch(&text, 1, step, BATCH, CONTEXT, inputs, targets);
        inside = inside && inputs[0] == 0 && targets[BATCH * CONTEXT - 1] == CONTEXT;
        corpus_held_out_batch(&text, 0, 1, BATCH, CONTEXT, inputs, targets);
        inside = inside && inputs[0] == 0 && targets[BATCH * CONTEXT - 1] == CONTEXT;
    }
    check(inside, "the shortest text has one sequence");
}

/* A copy loads as the same corpus; what an earlier, larger copy left is removed. */
static void test_copy(void)
{
    const char *paths[] = {"text", "text/none"};
    const char *fewer[] = {"text/z.c", "text/a.md"};
    const char *copies[] = {"copy"};
    corpus text;
    char problem[256] = "";
    check(mkdir("copy", 0777) == 0 && corpus_copy(paths, 2, "copy", problem, sizeof problem) == 0 &&
              corpus_load(&text, copies, 1, CONTEXT, problem, sizeof problem) == 0,
          "a text is copied");
    expect_runs(text.train, text.train_size, "abmzN", 90, "the copy has the same files in order");
    expect_runs(text.held_out, text.held_out_size, "abmzN", 10, "and the same held-out part");
    corpus_free(&text);
    check(corpus_copy(fewer, 2, "copy", problem, sizeof problem) == 0 &&
              corpus_load(&text, copies, 1, CONTEXT, problem, sizeof problem) == 0,
          "a second copy goes to the same directory");
    expect_runs(text.train, text.train_size, "za", 90, "nothing of the first copy is left");
    corpus_free(&text);
    check(corpus_copy(fewer, 2, "absent", problem, sizeof problem) != 0 &&
              strstr(problem, "absent/000000.txt") != NULL,
          "a directory that cannot be written is named");
    check(unlink("copy/000000.txt") == 0 && unlink("copy/000001.txt") == 0 && rmdir("copy") == 0,
          "the copies are removed");
}

static void test_failures(void)
{
    corpus text;
    char problem[256] = "";
    const char *missing[] = {"text", "text/missing.txt"};
    check(corpus_load(&text, missing, 2, CONTEXT, problem, sizeof problem) != 0 &&
              strstr(problem, "text/missing.txt") != NULL,
          "a missing file is named");
    const char *short_text[] = {"text/a.md"};
    check(corpus_load(&text, short_text, 1, 10, problem, sizeof problem) != 0 &&
              strstr(problem, "10 held out") != NULL && strstr(problem, "at least 11") != NULL,
          "a short text is refused with both sizes");
    check(text.train == NULL && text.train_size == 0, "a failed load leaves the corpus empty");
    check(corpus_load(&text, short_text, 1, 9, NULL, 0) == 0, "just long enough is enough");
    corpus_free(&text);
}

int main(void)
{
    char directory[] = "/tmp/gpt-data-XXXXXX";
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) {
        printf("FAILED: no temporary directory\n");
        return 1;
    }
    make_tree();
    test_tree();
    test_batches();
    test_shortest();
    test_copy();
    test_failures();
    remove_tree();
    check(chdir("/") == 0 && rmdir(directory) == 0, "the temporary directory is removed");
    if (failures == 0)
        printf("data tests passed\n");
    return failures != 0;
}
