#include "attune/methods/image_contexts.h"

#include <algorithm>
#include <vector>

namespace attune {
namespace {

/// Contexts whose classes are encoded at once: enough for the matrix products.
constexpr std::int64_t kAtOnce = 16;

}  // namespace

Tensor logits_by_image(const ClipModel& model, const ContextPrompts& prompts, const Tensor& image_features,
                       const std::function<Tensor(const Tensor&)>& contexts_of) {
  const at::NoGradGuard no_gradients;
  const std::int64_t images = image_features.size(0);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < images; first += kAtOnce) {
    const Tensor features = image_features.narrow(0, first, std::min(kAtOnce, images - first)).to(model.device);
    parts.push_back(cosine_logits_per_image(features, model.text->encode(prompts.of_each(contexts_of(features))),
                                            model.logit_scale));
  }
  return at::cat(parts);
}

}  // namespace attune
