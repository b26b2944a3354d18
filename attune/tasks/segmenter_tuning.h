#pragma once

#include "attune/tasks/fine_tuning.h"
#include "attune/tasks/segmentation.h"

namespace attune {

/// A segmenter as the second stage fine-tunes it, on samples of the task, with the search's loss (inferred: the paper
/// says nothing of it): every weight of image tower and decoder that a mask depends on, or low-rank deltas of the tower
/// while the decoder stays. What it learns is what ClipSeg::load takes as changes. Segmenter and task must outlive it;
/// the weights are read again from the segmenter's folder where all are tuned.
TunedModel tuned_segmenter(const ClipSeg& segmenter, const SegmentationTask& task, const TuningSettings& settings,
                           std::uint64_t seed);

}  // namespace attune
