#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/base/log.h"
#include "attune/diffusion/diffusion_folder.h"

namespace attune {

/// The configuration of a search for a concept that a diffusion model shall draw, by one of the methods "cones",
/// "textual_inversion" and "dreambooth".
Schema personalisation_schema(const std::string& method);

/// What is searched for, where, and from which start.
struct Personalisation {
  std::filesystem::path folder;  // of the run
  std::filesystem::path model;
  Config config;                                // of personalisation_schema
  std::vector<std::filesystem::path> pictures;  // of the concept
  std::vector<std::filesystem::path> measured;  // of the concept, never learned from; empty: none are there
  std::string dataset;                          // for people
  std::uint64_t seed = 1;
  bool resume = false;
  std::filesystem::path hashes;  // as in DiffusionOptions
  Progress* progress = nullptr;
  std::string version;
};

/// What a search ended with.
struct FoundConcept {
  std::shared_ptr<const DiffusionModel> model;  // without its text encoder; fine-tuned where the method does that
  Tensor before, after;                         // rows [n, w] that stand for the concept
  double memory_mb = 0;                         // resident at the end of the search
};

/// Pictures as a model takes them: the square in the middle, [N, 3, size, size] within -1 to 1. Throws Error that names
/// a picture that cannot be read.
Tensor concept_pixels(const std::vector<std::filesystem::path>& pictures, std::int64_t size);

/// Hidden rows [texts, n, w] of texts, by the text encoder of a diffusion folder, which is in memory for this call
/// only.
Tensor encoded_texts(const std::filesystem::path& model, const std::vector<std::string>& texts);

/// What a search will need, as one line for people. Throws as describe_diffusion_folder.
std::string describe_personalisation_needs(const Personalisation& search);

/// Searches in a folder of its own, as the run's configuration says, or goes on where the run stopped; writes the
/// adapter. Throws Stopped on a request to stop.
FoundConcept personalise(const Personalisation& search);

}  // namespace attune
