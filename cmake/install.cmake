# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: headers, both libraries, the command, the licence, and the two
# descriptions by which other builds find them. Both are relocatable: moving the tree keeps them true.
include(CMakePackageConfigHelpers)

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/hone" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS hone_shared hone_static EXPORT honeTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")

# The documents, laid out as here, so that their links hold; that to the headers leads to where those are.
file(RELATIVE_PATH headers "${CMAKE_INSTALL_FULL_DOCDIR}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}/hone")
file(READ "${PROJECT_SOURCE_DIR}/README.md" readme)
string(REPLACE "](include/hone)" "](${headers})" readme "${readme}")
file(WRITE "${PROJECT_BINARY_DIR}/package/README.md" "${readme}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/README.md")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" "${PROJECT_SOURCE_DIR}/ARCHITECTURE.md"
              "${PROJECT_SOURCE_DIR}/CONTRIBUTING.md" "${PROJECT_BINARY_DIR}/package/README.md"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs" "${PROJECT_SOURCE_DIR}/bench"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}"
        FILES_MATCHING PATTERN "*.md" PATTERN "*.json" PATTERN "*.py")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/examples" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

# From the folder of hone.pc and of honeConfig.cmake back to the prefix; an absolute library folder
# has no such way, and then the prefix is a fixed one.
set(HONE_PKGCONFIG_DIR "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
set(HONE_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/hone")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(HONE_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
  set(HONE_PC_LIBDIR "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(HONE_PC_INCLUDEDIR "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/${HONE_PKGCONFIG_DIR}" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(HONE_PC_PREFIX "\${pcfiledir}/${up}")
  set(HONE_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(HONE_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/hone.pc.in" "${PROJECT_BINARY_DIR}/package/hone.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/hone.pc" DESTINATION "${HONE_PKGCONFIG_DIR}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/honeConfig.cmake.in" "${PROJECT_BINARY_DIR}/package/honeConfig.cmake"
  INSTALL_DESTINATION "${HONE_PACKAGE_DIR}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/honeConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/honeConfig.cmake"
              "${PROJECT_BINARY_DIR}/package/honeConfigVersion.cmake"
        DESTINATION "${HONE_PACKAGE_DIR}")
install(EXPORT honeTargets NAMESPACE hone:: DESTINATION "${HONE_PACKAGE_DIR}")
