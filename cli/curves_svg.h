/* SPDX-License-Identifier: Apache-2.0 */
/* Curves as a picture in SVG: a panel for each, one below the other, over the same steps. */
#ifndef HONE_CLI_CURVES_SVG_H
#define HONE_CLI_CURVES_SVG_H

#include "curves.h"

/* Writes the file whole or leaves it as it was. Returns 0, or an exit code after a sentence. */
int curves_write_svg(const curves *curves, const char *path);

#endif
