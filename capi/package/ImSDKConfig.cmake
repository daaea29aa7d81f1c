# find_package(ImSDK) gives the target ImSDK::ImSDK. CMAKE_PREFIX_PATH is the folder of the library or the one around it: CMake finds this file in the latter, and in
# the former one in cmake/ that includes it.
get_filename_component(_imsdk_lib "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
if(NOT TARGET ImSDK::ImSDK)
  add_library(ImSDK::ImSDK SHARED IMPORTED)
  set_target_properties(ImSDK::ImSDK PROPERTIES
    IMPORTED_LOCATION "${_imsdk_lib}/libImSDK.so"
    IMPORTED_SONAME libImSDK.so
    INTERFACE_INCLUDE_DIRECTORIES "${_imsdk_lib}/include")
endif()
unset(_imsdk_lib)
