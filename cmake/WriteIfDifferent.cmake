# For scripts that generate headers.

# write_if_different(path text): an unchanged header keeps its time, so that nothing is rebuilt.
function(write_if_different path text)
  set(there "")
  if(EXISTS ${path})
    file(READ ${path} there)
  endif()
  if(NOT text STREQUAL there)
    file(WRITE ${path} "${text}")
  endif()
endfunction()
