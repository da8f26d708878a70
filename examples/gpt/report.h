/* SPDX-License-Identifier: Apache-2.0 */
/* How the programs of this example say what went wrong: one sentence on stderr, and a -1 to hand
 * on. main turns it into exit status 1. */
#ifndef GPT_REPORT_H
#define GPT_REPORT_H

/* Prints "program: error: ..." and returns -1. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
int failure(const char *format, ...);

/* The same with "warning". */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void warning(const char *format, ...);

/* The name in front of those sentences: the last part of argv[0], borrowed. */
void report_as(const char *program);

#endif
