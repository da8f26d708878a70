# SPDX-License-Identifier: Apache-2.0
# find_package(hone) gives hone::hone (the shared library), hone::shared and hone::static.
# find_package(hone COMPONENTS static) also insists on what the static one needs: OpenMP, jansson,
# libzip.

####### Expanded from @PACKAGE_INIT@ by configure_package_config_file() #######
####### Any changes to this file will be overwritten by the next CMake run ####
####### The input file was honeConfig.cmake.in                            ########

get_filename_component(PACKAGE_PREFIX_DIR "${CMAKE_CURRENT_LIST_DIR}/../../../" ABSOLUTE)

macro(check_required_components _NAME)
  foreach(comp ${${_NAME}_FIND_COMPONENTS})
    if(NOT ${_NAME}_${comp}_FOUND)
      if(${_NAME}_FIND_REQUIRED_${comp})
        set(${_NAME}_FOUND FALSE)
      endif()
    endif()
  endforeach()
endmacro()

####################################################################################

set(hone_need QUIET)
foreach(component IN LISTS hone_FIND_COMPONENTS)
  if(component STREQUAL "static")
    set(hone_need REQUIRED)
  endif()
  if(component STREQUAL "static" OR component STREQUAL "shared")
    set(hone_${component}_FOUND TRUE)
  endif()
endforeach()
find_package(OpenMP ${hone_need} COMPONENTS C)
find_package(PkgConfig ${hone_need})
if(PKG_CONFIG_FOUND AND NOT TARGET PkgConfig::jansson)
  pkg_check_modules(jansson ${hone_need} IMPORTED_TARGET jansson)
endif()
if(PKG_CONFIG_FOUND AND NOT TARGET PkgConfig::libzip)
  pkg_check_modules(libzip ${hone_need} IMPORTED_TARGET libzip)
endif()
unset(hone_need)

include("${CMAKE_CURRENT_LIST_DIR}/honeTargets.cmake")
if(NOT TARGET hone::hone)
  add_library(hone::hone INTERFACE IMPORTED)
  target_link_libraries(hone::hone INTERFACE hone::shared)
endif()
check_required_components(hone)
