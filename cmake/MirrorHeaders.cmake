# Script: copies the public headers to OUTPUT/mettle and writes "engine/x.h" as "mettle/engine/x.h" in them, so
# that a user's own folders called engine/ or models/ never collide with ours. Also writes the umbrella, mettle.h.
#   cmake -DSOURCE=... -DOUTPUT=... -DHEADERS=a.h;b.h -P MirrorHeaders.cmake

include(${CMAKE_CURRENT_LIST_DIR}/WriteIfDifferent.cmake)

file(GLOB_RECURSE stale RELATIVE ${OUTPUT}/mettle ${OUTPUT}/mettle/*.h)
list(REMOVE_ITEM stale ${HEADERS} mettle.h)
foreach(header IN LISTS stale)
  file(REMOVE ${OUTPUT}/mettle/${header})
endforeach()

set(umbrella "// The engine, differentiation and the models: all that most programs need. Data sets and tasks are in
// <mettle/recsys/...>, kernel slots in <mettle/kernels/...>.
#pragma once

")
foreach(header IN LISTS HEADERS)
  file(READ ${SOURCE}/${header} text)
  string(REGEX REPLACE "#include \"(engine|kernels|autograd|models|recsys)/" "#include \"mettle/\\1/" text "${text}")
  write_if_different(${OUTPUT}/mettle/${header} "${text}")
  if(header MATCHES "^(engine|autograd|models)/[^/]*$")
    string(APPEND umbrella "#include \"mettle/${header}\"\n")
  endif()
endforeach()
write_if_different(${OUTPUT}/mettle/mettle.h "${umbrella}")
