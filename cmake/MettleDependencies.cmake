# What libmettle links, in one place: read by the build and, installed beside MettleConfig.cmake, by
# find_package(Mettle). The caller defines mettle_needs(), and METTLE_STATIC when it links the private ones too.
mettle_needs(fmt)
set(METTLE_PUBLIC_LIBRARIES fmt::fmt)
if(METTLE_STATIC)
  mettle_needs(OneDNN)
  mettle_needs(OpenMP COMPONENTS CXX)
  mettle_needs(ZLIB)
  mettle_needs(hwy CONFIG)
  mettle_needs(spdlog CONFIG)
  set(METTLE_PRIVATE_LIBRARIES OneDNN::OneDNN OpenMP::OpenMP_CXX ZLIB::ZLIB hwy::hwy spdlog::spdlog)
endif()
