#pragma once

#include "attune/methods/registry.h"

namespace attune {

/// PLOT (Chen et al. 2023): several prompts a class, compared with the cells of a picture by optimal transport.
Method plot_method();

/// DuAl-PT (Hu et al. 2023, "Context-Aware Prompt Tuning with Dual-Alignment"): prompts that are aligned with a
/// language model's descriptions of the classes and with local image features. The paper's exact losses are not public:
/// what is here is inferred (docs/dual_pt.md).
Method dual_pt_method();

/// How the prompts of a class [M] meet the sentences about it [K].
struct DescriptionPlan {
  std::vector<std::string> sentences;
  Tensor plan;        // [M, K], entries sum to 1
  Tensor similarity;  // [M, K], cosines
};

/// What DuAl-PT and PLOT see: for every picture, how the mass of its cells is transported to the prompts of a class.
class TransportsCells {
 public:
  virtual ~TransportsCells() = default;
  /// [B, cells, prompts], each picture's entries sum to 1.
  virtual Tensor cell_plan(const Batch& batch, std::int64_t class_index) = 0;
  /// Are prompts aligned with descriptions?
  virtual bool has_descriptions() const = 0;
  /// Throws Error where the file of descriptions cannot be read.
  virtual DescriptionPlan description_plan(std::int64_t class_index) = 0;
};

}  // namespace attune
