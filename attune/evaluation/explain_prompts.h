#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/explain_words.h"
#include "attune/methods/generated_prompts.h"
#include "attune/training/inputs.h"

namespace attune {

/// Mean L2 distance over pairs of prompts; NaN where there is no pair.
struct MeanDistance {
  std::int64_t pairs = 0;
  double mean = 0;
};

/// A prompt in the plane of the two directions along which the generated prompts vary most.
struct PromptPoint {
  double x = 0, y = 0;
  std::string domain, picture;
};

/// A learned prompt of a domain, which a generator learned to make.
struct PromptLabel {
  std::string name;
  double largest_entry = 0;  // in size
  bool within_tanh = true;   // all entries in (-1, 1), where a generator that ends in tanh can reach them
  double distance = 0;       // mean L2 distance to the prompts generated for its domain's pictures; NaN: none
  double x = 0, y = 0;       // in the plane of the points
};

/// How the prompts that a method makes for pictures differ.
struct GeneratedPrompts {
  std::int64_t pictures = 0, draws = 0;
  bool draws_differ = false;
  double length = 0;             // mean L2 norm of a flattened prompt
  MeanDistance between_draws;    // of the same picture
  MeanDistance within_domains;   // between pictures of one domain, first draw
  MeanDistance between_domains;  // between pictures of different domains, first draw
  double variance_shown = 0;     // share of the first two directions
  std::vector<PromptPoint> points;
  std::vector<PromptLabel> labels;
  std::vector<TokenWords> mean_words;  // of the mean prompt
  std::int64_t parameters = 0;         // of the generator
  std::int64_t bytes = 0;
  double generator_ms = 0;  // for one picture, in batches
  double text_ms = 0;       // of naming one picture with all classes, the prompt's generation included
};

/// Generates `draws` prompts for every picture of `inputs`, which should be a few hundred at most, and compares them.
GeneratedPrompts look_at_prompts(Classifier& classifier, GeneratesPrompts& generator, Inputs& inputs,
                                 const TensorMap& adapter, const WordSpace& space, std::int64_t draws,
                                 std::int64_t words);

/// Coordinates [n, 2] of rows [n, width] along their two principal directions, whose signs make the entry of largest
/// size positive; `share` becomes the share of the variance. `others` [m, width] are placed in the same plane.
struct Plane {
  Tensor rows, others;  // [n, 2], [m, 2]
  double share = 0;
};
Plane principal_plane(const Tensor& rows, const Tensor& others);

}  // namespace attune
