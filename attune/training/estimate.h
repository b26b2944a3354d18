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
  double training_mb = 0;      // on top: packed weights, kept activations of the largest step, features of the pictures
  double feature_seconds = 0;  // encoding every view that is not in the cache yet, by image tower and domain model
  double training_seconds = 0;
};

/// Bytes that the backward keeps of a transformer's blocks for so many rows, about.
double kept_bytes(double rows, double width, double layers);
/// Seconds of so many multiply-adds of weights and rows, forward alone, about.
double forward_seconds(double products, double rate);

/// What one step of a stage needs of the frozen towers and of its own networks.
struct StepEstimate {
  double products = 0;  // multiply-adds
  double bytes = 0;     // packed weights of the towers it learns through, kept graphs, gradients and moments
};
StepEstimate estimate_step(const ClipModel& model, const ClassNames& classes, const StepCost& cost,
                           std::int64_t batch_size);

/// Training samples of a domain; of all together where it is negative.
using SampleCount = std::function<std::int64_t(std::int64_t domain)>;

/// From the towers' sizes, what a step of each stage costs, and a short measurement of what this machine multiplies in
/// a second; a domain model encodes one picture for its part. A stage is counted with the samples of its own domain.
/// Memory and time are right to about a factor of two; measuring the learned is not in them, and views that are cached
/// already make the time shorter.
Estimate estimate_training(const ClipModel& model, const ClassNames& classes, const Needs& needs, const Stages& stages,
                           const SampleCount& samples, const ViewPlan& views);

/// One line for people.
std::string describe(const Estimate& estimate);

}  // namespace attune
