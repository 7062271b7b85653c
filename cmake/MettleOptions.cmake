# Flags that every target of the project shares: C++20, warnings, position-independent code.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)

add_library(mettle_options INTERFACE)
target_compile_features(mettle_options INTERFACE cxx_std_20)
target_compile_options(mettle_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-unknown-pragmas
                                                $<$<BOOL:${METTLE_WERROR}>:-Werror>)

# mettle_library(name SOURCES ... DEPENDS ...): one folder's object library. A folder sees the headers of
# all folders through the root include directory; the lint test enforces who may include whom.
function(mettle_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} OBJECT ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC fmt::fmt PRIVATE mettle_options OpenMP::OpenMP_CXX)
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS})
endfunction()
