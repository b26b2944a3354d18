#pragma once

#include <string>
#include <vector>

#include "attune/cli/common.h"

namespace attune {

/// The options of `attune train` that a search on a detector or a segmenter takes.
struct DetectionTraining {
  Common common;
  std::string model, data, method, recipe, out;
  int shots = -1;
  std::vector<std::string> assignments;
  bool resume = false, dry_run = false, no_test = false;
};

/// `attune train --task detection`: searches, measures beside zero-shot by name, and writes a report with pictures.
void train_detection(const DetectionTraining& options);
/// `attune train --task segmentation`: the same for masks, within the true boxes of the test pictures.
void train_segmentation(const DetectionTraining& options);

}  // namespace attune
