# Script: copies the public headers to OUTPUT/mettle and writes "engine/x.h" as "mettle/engine/x.h" in them, so
# that a user's own folders called engine/ or models/ never collide with ours.
#   cmake -DSOURCE=... -DOUTPUT=... -DHEADERS=a.h;b.h -P MirrorHeaders.cmake
file(GLOB_RECURSE old RELATIVE ${OUTPUT}/mettle ${OUTPUT}/mettle/*.h)
list(REMOVE_ITEM old ${HEADERS} mettle.h)
foreach(header IN LISTS old)
  file(REMOVE ${OUTPUT}/mettle/${header})
endforeach()

foreach(header IN LISTS HEADERS ITEMS mettle.h)
  set(from ${SOURCE}/${header})
  if(header STREQUAL "mettle.h")
    set(from ${SOURCE}/include/mettle/mettle.h)
  endif()
  file(READ ${from} text)
  string(REGEX REPLACE "#include \"(engine|kernels|autograd|models|recsys)/" "#include \"mettle/\\1/" text "${text}")
  set(to ${OUTPUT}/mettle/${header})
  set(there "")
  if(EXISTS ${to})
    file(READ ${to} there)
  endif()
  if(NOT text STREQUAL there)  # an unchanged header keeps its time, so nothing is rebuilt
    file(WRITE ${to} "${text}")
  endif()
endforeach()
