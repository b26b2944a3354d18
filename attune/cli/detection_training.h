#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/cli/detect.h"
#include "attune/evaluation/detection_report.h"

namespace attune {

// What `attune train` shares between detection and segmentation.

/// What of a model is loaded, and where, as a verb's options say.
LoadOptions load_options(const Common& common);

/// The configuration of a run: that of its sources, then the options that have a name of their own.
Config searched_config(const DetectionTraining& options, const Schema& schema);

/// The data set, divided, and the training pictures that the configuration asks for; says what they are.
void open_training(const DetectionTraining& options, bool masks, const Config& config, BoxDataset& data,
                   std::vector<BoxPicture>& training);

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
