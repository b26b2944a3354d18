#pragma once

#include "attune/tasks/detection.h"
#include "attune/tasks/fine_tuning.h"

namespace attune {

/// A detector as the second stage fine-tunes it, on pictures of the task, with the detector's own loss: what it learns
/// is what OwlVit::load takes as changes. Detector and task must outlive it; the weights are read again from the
/// detector's folder where all are tuned.
TunedModel tuned_detector(const OwlVit& detector, const DetectionTask& task, const TuningSettings& settings,
                          std::uint64_t seed);

}  // namespace attune
