/* SPDX-License-Identifier: Apache-2.0 */
/* Shorthand for the golden tables: anonymous constant arrays and their sentinels. Only the files
 * that hold the numbers include it. */
#ifndef GOLDEN_MACROS_H
#define GOLDEN_MACROS_H

#include "golden_numbers.h"

#define NUMBERS(...) ((const double[]){__VA_ARGS__})
#define FLAGS(...) ((const bool[]){__VA_ARGS__})
#define HYPERS(...) ((const golden_hyper[]){__VA_ARGS__, {NULL, 0}})
#define EXPECT(...) ((const golden_expectation[]){__VA_ARGS__, {NULL, 0, 0, NULL}})
#define EXPECT_ROWS(...) ((const golden_row_expectation[]){__VA_ARGS__, {0, 0, NULL, {0}}})
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#endif
