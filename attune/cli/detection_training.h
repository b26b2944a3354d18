#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/cli/detect.h"
#include "attune/evaluation/detection_report.h"
#include "attune/evaluation/detection_run.h"

namespace attune {

// What `attune train` shares between detection and segmentation.

/// What of a model is loaded, and where, as a verb's options say.
LoadOptions load_options(const Common& common);

/// A search as the options say, with its data set divided and the training pictures drawn; says what they are. Throws
/// UsageError for a folder that is in use and for keys and values that do not fit.
DetectionSearch open_search(const DetectionTraining& options, const Schema& schema, bool masks);

/// What the results of a run begin with; `hash` is that of the model's weights.
Json search_results(const DetectionTraining& options, const std::string& task, const BoxDataset& data,
                    const std::vector<BoxPicture>& training, const std::string& method, const std::string& model,
                    const std::string& hash);

/// Some pictures with what was found and what the annotations say, as PNG files below `folder`.
std::vector<std::filesystem::path> draw_pictures(const std::filesystem::path& folder, const BoxDataset& data,
                                                 const std::vector<BoxPicture>& pictures,
                                                 const std::vector<Detection>& detections, double threshold);

/// Measures in per cent, for people.
std::string metrics_table(const std::vector<MeasuredDetections>& measured);

}  // namespace attune
