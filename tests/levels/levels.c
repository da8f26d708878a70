/* SPDX-License-Identifier: Apache-2.0 */
/* One line per CPU level that this build holds and this machine can run, lowest first. */
#include <stdio.h>

#include <hone/context.h>

int main(void)
{
    for (int i = 0; hone_cpu_level(i) != NULL; i++)
        printf("%s\n", hone_cpu_level(i));
    return hone_cpu_level(0) == NULL;
}
