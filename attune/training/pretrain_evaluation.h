#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "attune/base/json.h"
#include "attune/formats/safetensors.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// The gate of a small CLIP that is trained on drawings: naming drawn concepts by text alone, over every vendor of a
/// pack and apart for concepts that training saw and concepts that it did not.
class NamingGate {
 public:
  /// `benchmark`: JSON with "concepts" (name, subgroup, held_out) and "subgroups" (key, name). `data`: a folder with
  /// evaluation.safetensors (rgba U8 [M, S, S, 4], set U8 [M], concept I64 [M]) and pack.json ("sets": their names).
  NamingGate(const std::filesystem::path& benchmark, const std::filesystem::path& data);

  /// Features of B sentences [B, d] and of B pictures [B, 3, S, S] -> [B, d], not normalised.
  using TextEncoder = std::function<Tensor(const std::vector<std::string>&)>;
  using ImageEncoder = std::function<Tensor(const Tensor&)>;

  /// {set: {"concepts": {"all": {"top1", "top5", "count"}, "seen": ..., "held_out": ...}, "subgroups": {...}}}, shares
  /// in 0..1. A class is the mean of its name in five templates.
  Json measure(const TextEncoder& text, const ImageEncoder& image) const;

 private:
  Tensor class_features(const TextEncoder& text, const std::vector<std::string>& names) const;
  Json measure_set(const Tensor& features, const Tensor& concept_rows, const Tensor& concepts,
                   const Tensor& subgroups) const;

  SafetensorsFile file_;
  Tensor rgba_, set_, concept_;
  std::vector<std::string> set_names_, concept_names_, subgroup_names_;
  Tensor held_out_;  // [concepts] bool
  Tensor subgroup_;  // [concepts] int64, -1 where a concept lies in none
};

/// One line a set for the log: top-1 of the concepts and of the subgroups.
std::string summary(const Json& measured);

}  // namespace attune
