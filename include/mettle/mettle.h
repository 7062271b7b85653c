// Everything a program that uses Mettle needs: one include. The parts can be included one by one,
// as <mettle/engine/shape.h>.
#pragma once

#include "engine/check.h"
#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/shape.h"
#include "kernels/builtin.h"
