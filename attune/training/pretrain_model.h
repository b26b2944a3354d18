#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/clip/weights.h"
#include "attune/optim/optimiser.h"

namespace attune {

/// Token ids of texts, without the special tokens.
using TokenTable = std::vector<std::vector<std::int64_t>>;
/// `longest` counts both special tokens; longer texts are cut.
TokenTable tokenise(const Tokenizer& tokenizer, const std::vector<std::string>& texts, std::int64_t longest);

/// A small CLIP that trains from a random start.
class PretrainModel {
 public:
  /// `tokenizer`: a tokenizer.json. The logit scale starts at exp(1.6): a small one keeps young towers from collapsing
  /// to a point (inferred).
  PretrainModel(const ClipConfig& config, const std::filesystem::path& tokenizer, std::uint64_t seed);

  const ClipConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// pixels [B, 3, S, S], normalised -> features [B, d], not normalised.
  Tensor encode_image(const Tensor& pixels) const;
  /// Features [B, d], not normalised, of B texts.
  Tensor encode_text(const TokenTable& texts) const;
  /// exp of the logit scale, at most 100.
  Tensor scale() const;

  std::vector<Parameter> text_parameters() const;
  /// The image tower's and the logit scale.
  std::vector<Parameter> image_parameters() const;
  /// Copies of all parameters, by name.
  TensorMap state() const;
  /// Throws Error that names the first tensor that is missing or does not fit.
  void load_state(const TensorMap& state);

  /// A Hugging Face folder with fp16 weights.
  void save_folder(const std::filesystem::path& folder) const;

 private:
  ClipConfig config_;
  std::filesystem::path tokenizer_path_;
  Tokenizer tokenizer_;
  TextWeights<Linear> text_;
  VitWeights<Linear> image_;
  Tensor log_scale_;  // scalar
};

}  // namespace attune
