#----------------------------------------------------------------
# Generated CMake target import file for configuration "Release".
#----------------------------------------------------------------

# Commands may need to know the format version.
set(CMAKE_IMPORT_FILE_VERSION 1)

# Import target "hone::shared" for configuration "Release"
set_property(TARGET hone::shared APPEND PROPERTY IMPORTED_CONFIGURATIONS RELEASE)
set_target_properties(hone::shared PROPERTIES
  IMPORTED_LOCATION_RELEASE "${_IMPORT_PREFIX}/lib/libhone.so.0.1.0"
  IMPORTED_SONAME_RELEASE "libhone.so.0"
  )

list(APPEND _cmake_import_check_targets hone::shared )
list(APPEND _cmake_import_check_files_for_hone::shared "${_IMPORT_PREFIX}/lib/libhone.so.0.1.0" )

# Import target "hone::static" for configuration "Release"
set_property(TARGET hone::static APPEND PROPERTY IMPORTED_CONFIGURATIONS RELEASE)
set_target_properties(hone::static PROPERTIES
  IMPORTED_LINK_INTERFACE_LANGUAGES_RELEASE "C"
  IMPORTED_LOCATION_RELEASE "${_IMPORT_PREFIX}/lib/libhone.a"
  )

list(APPEND _cmake_import_check_targets hone::static )
list(APPEND _cmake_import_check_files_for_hone::static "${_IMPORT_PREFIX}/lib/libhone.a" )

# Commands beyond this point should not need to know the version.
set(CMAKE_IMPORT_FILE_VERSION)
