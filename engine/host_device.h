// Marks functions that host and device compile from the same source.
#pragma once

#if defined(__CUDACC__)
#define METTLE_HD __host__ __device__
#else
#define METTLE_HD
#endif
