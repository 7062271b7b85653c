# Flags, sanitizers and dependencies that every target of the project shares, and mettle_library().
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

# CUDA kernels for GPUs. Architectures are asked for by name: 90a, which has wgmma, is not part of what -arch=sm_90a
# compiles beside it.
set(METTLE_CUDA_ARCHITECTURES 80 90a 100 120 CACHE STRING "Compute capabilities that METTLE_CUDA builds for")
if(METTLE_CUDA)
  if(METTLE_SANITIZE)
    message(FATAL_ERROR "METTLE_CUDA=ON with METTLE_SANITIZE: nvcc has no sanitizers. Use compute-sanitizer on a CUDA build.")
  endif()
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin ENV CUDA_PATH PATH_SUFFIXES bin)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "METTLE_CUDA=ON needs nvcc of CUDA 13: put it on PATH or set CUDA_PATH. Without it use the preset cpu.")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES OFF)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  # CMake 3.25 does not know how nvcc is told to compile C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  set(METTLE_CUDA_FLAGS -Xcompiler=-Wall,-Wextra,-fno-strict-aliasing)
  foreach(architecture IN LISTS METTLE_CUDA_ARCHITECTURES)
    list(APPEND METTLE_CUDA_FLAGS "SHELL:-gencode arch=compute_${architecture},code=sm_${architecture}")
  endforeach()
endif()

if(METTLE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CCACHE_PROGRAM ccache)
  mark_as_advanced(CCACHE_PROGRAM)
  if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endif()

if(METTLE_SANITIZE)
  add_compile_options(-fsanitize=${METTLE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${METTLE_SANITIZE})
  # What keeps vector kernels from taking minutes each: checks of memory accesses as calls, no tracking of variables.
  if(METTLE_SANITIZE MATCHES "address")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      add_compile_options(-fno-var-tracking "SHELL:--param asan-instrumentation-with-call-threshold=0")
    else()
      add_compile_options("SHELL:-mllvm -asan-instrumentation-with-call-threshold=0")
    endif()
  endif()
endif()

if(METTLE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "METTLE_FUZZ=ON needs clang++ with libFuzzer (Debian: clang-19 libclang-rt-19-dev): use preset fuzz.")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# ThreadSanitizer cannot see the locks inside of libgomp and would report every parallel loop. Under it
# parallel_for runs on std::thread instead: see engine/parallel.cpp. So it does in fuzz builds, because
# clang-19 comes without an OpenMP library.
if(METTLE_SANITIZE MATCHES "thread" OR METTLE_FUZZ)
  set(METTLE_STD_THREADS ON)
endif()

macro(mettle_needs)
  find_package(${ARGV} REQUIRED)
endmacro()
set(METTLE_STATIC ON)
include(MettleDependencies)

add_library(mettle_options INTERFACE)
target_compile_features(mettle_options INTERFACE cxx_std_20)
set(warnings -fopenmp-simd -Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${METTLE_WERROR}>:-Werror>)
target_compile_options(mettle_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")
# g++ 12 takes "text" + std::string for an overlapping copy (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(mettle_options INTERFACE -Wno-restrict)
endif()
# Between its own checks of a sanitizer g++ takes members of std::regex and std::optional for uninitialized.
if(METTLE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(mettle_options INTERFACE -Wno-maybe-uninitialized)
endif()

# mettle_library(name SOURCES ... DEPENDS ...): the library of one folder. DEPENDS names the folder below it,
# through which it sees all lower ones. MettlePackage joins the folders' objects into libmettle. The headers of
# all folders are visible through the root include directory; the lint test enforces who may include whom.
function(mettle_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC fmt::fmt ${ARG_DEPENDS} PRIVATE mettle_options)
  set_property(GLOBAL APPEND PROPERTY METTLE_FOLDER_LIBRARIES ${name})
endfunction()
