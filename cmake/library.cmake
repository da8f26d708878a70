# SPDX-License-Identifier: Apache-2.0
# libhone, shared and static, from one set of objects.
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(PkgConfig REQUIRED)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(openblas REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(libzip REQUIRED IMPORTED_TARGET libzip)

file(GLOB HONE_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/core/*.c"
     "${PROJECT_SOURCE_DIR}/src/checkpoint/*.c" "${PROJECT_SOURCE_DIR}/src/mask/*.c"
     "${PROJECT_SOURCE_DIR}/src/table/*.c"
     "${PROJECT_SOURCE_DIR}/src/kernel/stage.c"
     "${PROJECT_SOURCE_DIR}/src/cpu/cpu.c")

add_library(hone_objects OBJECT ${HONE_SOURCES})
target_include_directories(
  hone_objects
  PUBLIC "${PROJECT_SOURCE_DIR}/include"
  PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_BINARY_DIR}/generated")
target_compile_definitions(hone_objects PRIVATE "HONE_LEVELS=${HONE_LEVELS}" _GNU_SOURCE
                                                ${HONE_WITH_AVX512_BF16})
target_link_libraries(hone_objects PRIVATE OpenMP::OpenMP_C PkgConfig::jansson PkgConfig::libzip
    PkgConfig::openblas)

foreach(kind SHARED STATIC)
  string(TOLOWER ${kind} suffix)
  set(target hone_${suffix})
  add_library(${target} ${kind} $<TARGET_OBJECTS:hone_objects> ${HONE_KERNEL_OBJECTS})
  target_include_directories(
    ${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                     $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE OpenMP::OpenMP_C PkgConfig::jansson PkgConfig::libzip
    PkgConfig::openblas m)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME hone EXPORT_NAME ${suffix})
  add_library(hone::${suffix} ALIAS ${target})
endforeach()
set_target_properties(hone_shared PROPERTIES VERSION ${PROJECT_VERSION}
                                             SOVERSION ${PROJECT_VERSION_MAJOR})
add_library(hone::hone ALIAS hone_shared)
