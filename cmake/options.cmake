# SPDX-License-Identifier: Apache-2.0
# Flags that all targets share: warnings, sanitizers, and the arithmetic that makes bits equal.

# No contraction: a fused multiply-add would make levels and compilers differ. Never fast-math.
add_compile_options(-Wall -Wextra -Wconversion -ffp-contract=off)

if(HONE_SANITIZE)
  add_compile_options(-fsanitize=${HONE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HONE_SANITIZE})
endif()

# The fuzzers steer by the library's branches.
if(HONE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
