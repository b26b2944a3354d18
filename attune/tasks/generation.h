#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "attune/diffusion/generate.h"
#include "attune/methods/adapter.h"

namespace attune {

/// A concept that was learned on a diffusion model: rows where its text encoder would speak ("embeddings", of cones),
/// or an input embedding of it ("token", of textual_inversion); a network that was fine-tuned on it ("unet.NAME", of
/// dreambooth) besides.
struct LearnedConcept {
  std::filesystem::path folder;
  AdapterInfo info;
  TensorMap tensors;

  bool has_rows() const { return tensors.contains("embeddings"); }
  bool has_token() const { return tensors.contains("token"); }
  bool has_network() const { return tensors.contains("unet.conv_in.weight"); }
};

/// Throws Error that names the folder where it holds no concept of a generation, one of another model, or tensors that
/// do not fit the model.
LearnedConcept read_learned_concept(const std::filesystem::path& adapter, const DiffusionModel& model);

/// What is asked of a model.
struct Request {
  std::optional<std::filesystem::path> adapter;
  std::optional<std::string> prompt;    // with a token, its place is {}; none: the sentence that it was learned in
  std::optional<std::string> negative;  // what is guided away from; none: the empty text
  double scale = 7.5;
};

/// A model with everything that is needed to answer a request, and nothing else: texts were read before the network was
/// loaded, and their encoder is gone.
struct Generation {
  DiffusionModel model;
  Steering steering;
  Json settings;  // what was asked, for people and for the pictures' files
};

/// Throws UsageError where the parts of the request do not go together or the folder lacks what they need; Error as
/// load_diffusion_model and read_learned_concept.
Generation prepare_generation(const std::filesystem::path& folder, const Request& request,
                              const std::filesystem::path& hashes = {});

}  // namespace attune
