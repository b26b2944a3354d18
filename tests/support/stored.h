#pragma once

#include <filesystem>
#include <string>

namespace attune::testing_support {

/// Stored expectations and models of the room whose tests include this.
const std::filesystem::path kData = ATTUNE_TEST_DATA;

/// Small models with random weights and what goes with them, of other rooms.
const std::string kSmallClip = std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/hf_quick";
const std::string kTasks = std::string(ATTUNE_SOURCE_DIR) + "/tests/tasks/data";
const std::string kDetector = kTasks + "/owl_vit", kSegmenter = kTasks + "/clipseg";

}  // namespace attune::testing_support
