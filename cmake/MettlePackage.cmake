# libmettle: the folders' objects as one library, the headers that users see, and what is installed.
#
#   Mettle::mettle            the target, from find_package(Mettle CONFIG) as well as from add_subdirectory()
#   #include <mettle/mettle.h>  or a part: <mettle/engine/shape.h>
include(CMakePackageConfigHelpers)

get_property(METTLE_FOLDER_LIBRARIES GLOBAL PROPERTY METTLE_FOLDER_LIBRARIES)

# ---- headers ----------------------------------------------------------------------------------------------
# Public: every header but those of a kernel back end, of the readers of others' files and of the program.
file(GLOB_RECURSE METTLE_HEADERS RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS
  engine/*.h kernels/*.h autograd/*.h models/*.h recsys/*.h)
list(FILTER METTLE_HEADERS EXCLUDE REGEX "^kernels/.*/|^models/(json|pretrained|tokenizer)/|^recsys/command/|-inl\\.h$")
list(SORT METTLE_HEADERS)
list(TRANSFORM METTLE_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE METTLE_HEADER_FILES)
set(METTLE_MIRROR ${PROJECT_BINARY_DIR}/include)
list(TRANSFORM METTLE_HEADERS PREPEND ${METTLE_MIRROR}/mettle/ OUTPUT_VARIABLE METTLE_MIRRORED)
add_custom_command(OUTPUT ${METTLE_MIRROR}/headers.stamp BYPRODUCTS ${METTLE_MIRRORED}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${METTLE_MIRROR} "-DHEADERS=${METTLE_HEADERS}"
          -P ${PROJECT_SOURCE_DIR}/cmake/MirrorHeaders.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${METTLE_MIRROR}/headers.stamp
  DEPENDS ${METTLE_HEADER_FILES} cmake/MirrorHeaders.cmake cmake/WriteIfDifferent.cmake
  COMMENT "Public headers" VERBATIM)
add_custom_target(mettle_headers ALL DEPENDS ${METTLE_MIRROR}/headers.stamp)

# ---- the library ------------------------------------------------------------------------------------------
# The target is called libmettle because `mettle` is the program.
add_library(libmettle)
add_library(Mettle::mettle ALIAS libmettle)
add_dependencies(libmettle mettle_headers)
foreach(folder IN LISTS METTLE_FOLDER_LIBRARIES)
  target_sources(libmettle PRIVATE $<TARGET_OBJECTS:${folder}>)
endforeach()
set_target_properties(libmettle PROPERTIES OUTPUT_NAME mettle EXPORT_NAME mettle LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_compile_features(libmettle PUBLIC cxx_std_20)
target_include_directories(libmettle INTERFACE
  $<BUILD_INTERFACE:${METTLE_MIRROR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(libmettle PUBLIC ${METTLE_PUBLIC_LIBRARIES} PRIVATE ${METTLE_PRIVATE_LIBRARIES})

# ---- the package ------------------------------------------------------------------------------------------
if(NOT METTLE_INSTALL)
  return()
endif()
set(METTLE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Mettle)
install(TARGETS libmettle EXPORT MettleTargets)
install(DIRECTORY ${METTLE_MIRROR}/mettle DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT MettleTargets NAMESPACE Mettle:: DESTINATION ${METTLE_CMAKE_DIR})
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# A static libmettle needs its private dependencies whenever it is linked; a shared one has them inside.
if(BUILD_SHARED_LIBS)
  set(METTLE_STATIC OFF)
endif()
configure_package_config_file(cmake/MettleConfig.cmake.in ${PROJECT_BINARY_DIR}/MettleConfig.cmake
  INSTALL_DESTINATION ${METTLE_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/MettleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/MettleConfig.cmake ${PROJECT_BINARY_DIR}/MettleConfigVersion.cmake
              cmake/MettleDependencies.cmake cmake/FindOneDNN.cmake
  DESTINATION ${METTLE_CMAKE_DIR})

# pkg-config: the same dependencies by their other names.
set(METTLE_PC_REQUIRES "fmt")
set(private_requires "libhwy spdlog zlib")
set(private_libs "-ldnnl -lgomp -pthread")
if(METTLE_STATIC)
  string(APPEND METTLE_PC_REQUIRES " ${private_requires}")
  string(PREPEND private_libs " ")
  set(METTLE_PC_LIBS "${private_libs}")
else()
  set(METTLE_PC_REQUIRES_PRIVATE "${private_requires}")
  set(METTLE_PC_LIBS_PRIVATE "${private_libs}")
endif()
file(RELATIVE_PATH METTLE_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" METTLE_PC_UP "${METTLE_PC_UP}")
configure_file(cmake/mettle.pc.in ${PROJECT_BINARY_DIR}/mettle.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mettle.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
