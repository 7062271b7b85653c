# mettle_emulated_kernels(name SOURCES ...): the host instantiation of kernels, as two libraries.
#
#   name_plain   for speed: barriers, warps, copies and bounds of copies are checked
#   name_race    every load and store is told to the emulation, which finds races, accesses out of
#                bounds, reads of what nobody wrote: the compiler's instrumentation for the thread
#                sanitizer, linked without it, calls functions of mettle_emulation_hooks
#
# A program links one of them: they define the same functions. There is no name_race in a build with
# METTLE_SANITIZE: address and thread sanitizer bring runtimes that define or wrap those functions, and
# two kinds of instrumentation do not fit into one object.
function(mettle_emulated_kernels name)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  set(flavours plain)
  if(NOT METTLE_SANITIZE)
    list(APPEND flavours race)
  endif()
  foreach(flavour IN LISTS flavours)
    add_library(${name}_${flavour} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    target_include_directories(${name}_${flavour} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name}_${flavour} PUBLIC mettle_emulation PRIVATE mettle_options)
    # Kernels look at registers and at vectors of 16 bytes as other types.
    target_compile_options(${name}_${flavour} PRIVATE -fno-strict-aliasing)
    # Tensor maps are passed by value; g++ tells that version 4.6 changed how.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${name}_${flavour} PRIVATE -Wno-psabi)
    endif()
  endforeach()
  if(race IN_LIST flavours)
    target_compile_definitions(${name}_race PUBLIC METTLE_EMULATION_RACE)
    # -g for the lines in reports; -O1 keeps the accesses that the source makes. Fortified functions of
    # <cstring> would go past the hooks.
    target_compile_options(${name}_race PRIVATE -fsanitize=thread -O1 -g -U_FORTIFY_SOURCE)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      target_compile_options(${name}_race PRIVATE "SHELL:-mllvm -tsan-instrument-read-before-write")
    endif()
    target_link_libraries(${name}_race PUBLIC mettle_emulation_hooks)
  endif()
endfunction()
