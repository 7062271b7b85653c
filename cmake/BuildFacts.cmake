# Script: writes build_facts.h with the version, the build type and the commit of the source tree: "unknown" where
# SOURCE is no git checkout of its own (a tarball), "-modified" appended where tracked files differ from the commit.
#   cmake -DSOURCE=... -DOUTPUT=... -DVERSION=... -DBUILD_TYPE=... -P BuildFacts.cmake

include(${CMAKE_CURRENT_LIST_DIR}/WriteIfDifferent.cmake)

function(git result)
  execute_process(COMMAND git -C ${SOURCE} ${ARGN}
    OUTPUT_VARIABLE text OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    set(text "")
  endif()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

set(commit "unknown")
if(EXISTS ${SOURCE}/.git)
  git(head rev-parse --short=12 HEAD)
  if(head)
    git(changes status --porcelain --untracked-files=no)
    set(commit "${head}")
    if(changes)
      string(APPEND commit "-modified")
    endif()
  endif()
endif()

set(text "// Written by cmake/BuildFacts.cmake.
#pragma once

namespace mettle::command {

inline constexpr char kVersion[] = \"${VERSION}\";
inline constexpr char kCommit[] = \"${commit}\";
inline constexpr char kBuildType[] = \"${BUILD_TYPE}\";

}  // namespace mettle::command
")
write_if_different(${OUTPUT} "${text}")
