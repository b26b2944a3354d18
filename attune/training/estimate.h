#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attune/methods/learner.h"
#include "attune/training/views.h"

namespace attune {

/// Multiply-adds a second in fp32 matrix products of this machine, measured for about 50 ms.
double measured_rate();

/// What a run will need, worked out before it starts.
struct Estimate {
  double model_mb = 0;         // weights of both towers
  double training_mb = 0;      // on top: kept activations of the largest step
  double feature_seconds = 0;  // encoding every view that is not in the cache yet
  double training_seconds = 0;
};

/// Bytes that the backward keeps of a transformer's blocks for so many rows, about.
double kept_bytes(double rows, double width, double layers);
/// Seconds of so many multiply-adds of weights and rows, forward alone, about.
double forward_seconds(double products, double rate);

/// Training samples of a domain; of all together where it is negative.
using SampleCount = std::function<std::int64_t(std::int64_t domain)>;

/// From the towers' sizes and a short measurement of what this machine multiplies in a second. A stage is counted with
/// the samples of its own domain. Times are right to about a factor of two; views that are cached already make them
/// shorter.
Estimate estimate_training(const ClipModel& model, const ClassNames& classes, const Stages& stages,
                           const SampleCount& samples, const ViewPlan& views);

/// One line for people.
std::string describe(const Estimate& estimate);

}  // namespace attune
