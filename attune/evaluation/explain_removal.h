#pragma once

#include <string>
#include <vector>

#include "attune/methods/adapter.h"
#include "attune/training/inputs.h"

namespace attune {

/// Top-1 accuracy after one learned token, the same place for all classes and prompts, or one whole prompt was taken
/// out.
struct RemovedToken {
  std::string tensor;
  std::int64_t token = 0;  // from 0; of "prompt" the prompt
  std::string how;         // "left out", "mean embedding", "zeros", or "prompt left out"
  double acc1 = 0;
};

struct Removal {
  std::int64_t pictures = 0;
  double zero_shot = 0, whole = 0;
  std::vector<RemovedToken> removed;
};

/// Measures an adapter without each of its tokens:
///   - left out, where the method takes a context of another length: the sentence is one token shorter;
///   - replaced by the mean embedding of the vocabulary's words [width], where its length is fixed;
///   - replaced by zeros in deeper blocks ("text.<block>"), whose space the vocabulary does not know;
/// and of methods with several prompts, without each prompt. Learned prompts of domains ("labels.") are no part of a
/// prediction and are passed over.
Removal remove_tokens(const std::shared_ptr<const ClipModel>& model, const AdapterInfo& info, const TensorMap& adapter,
                      const ClassNames& classes, Inputs& inputs, const Tensor& mean_embedding);

}  // namespace attune
