/* SPDX-License-Identifier: Apache-2.0 */
/* Version numbers and the mark of the public symbols; everything without it is hidden. */
#ifndef HONE_EXPORT_H
#define HONE_EXPORT_H

#define HONE_VERSION_MAJOR 0
#define HONE_VERSION_MINOR 1
#define HONE_VERSION_PATCH 0
#define HONE_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define HONE_API __attribute__((visibility("default")))
#else
#define HONE_API
#endif

#endif
