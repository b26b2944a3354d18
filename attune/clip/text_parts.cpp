#include "attune/clip/text_parts.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Every defined tensor of a call that may want a gradient: prefix and suffix first.
std::vector<Tensor*> tensors_of(Prompts& prompts, Tuning& tuning) {
  std::vector<Tensor*> tensors{&prompts.prefix, &prompts.suffix};
  for (auto& block : tuning.blocks) {
    tensors.push_back(&block.tokens);
    for (auto* delta : {&block.q, &block.k, &block.v, &block.out, &block.qkv}) {
      tensors.insert(tensors.end(), {&delta->down, &delta->up, &delta->singular});
    }
  }
  std::erase_if(tensors, [](const Tensor* tensor) { return !tensor->defined(); });
  return tensors;
}

/// What the backward needs to compute the features again. Its tensors are detached.
struct Call : torch::CustomClassHolder {
  TextConfig config;
  TextWeights<FrozenLinear> weights;
  Prompts prompts;
  Tuning tuning;
  std::int64_t classes = 1;

  Tensor encode(std::int64_t first) const {
    const auto count = std::min(classes, prompts.end.size(0) - first);
    const Prompts part{prompts.prefix, prompts.suffix.narrow(1, first, count), prompts.end.narrow(0, first, count)};
    return encode_text(config, weights, part, tuning);
  }
};

struct EncodeInParts : torch::autograd::Function<EncodeInParts> {
  static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Call>& call, at::TensorList inputs) {
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    std::vector<Tensor> features;
    for (std::int64_t first = 0; first < call->prompts.end.size(0); first += call->classes) {
      features.push_back(call->encode(first));
    }
    return at::cat(features, 1);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto held = context->saved_data["call"].toCapsule();
    const at::AutoGradMode with_gradients(true);
    Call again(*static_cast<const Call*>(held.get()));
    variable_list leaves;
    for (auto* tensor : tensors_of(again.prompts, again.tuning)) {
      *tensor = tensor->detach().set_requires_grad(true);
      leaves.push_back(*tensor);
    }
    variable_list sums(leaves.size() + 1);
    for (std::int64_t first = 0; first < again.prompts.end.size(0); first += again.classes) {
      const Tensor features = again.encode(first);
      const auto own = torch::autograd::grad({features}, leaves, {gradients[0].narrow(1, first, features.size(1))},
                                             std::nullopt, false, true);
      const at::NoGradGuard summing;
      for (std::size_t i = 0; i < own.size(); ++i) {
        if (own[i].defined()) sums[i + 1] = sums[i + 1].defined() ? sums[i + 1].add_(own[i]) : own[i].clone();
      }
    }
    return sums;
  }
};

}  // namespace

bool wants_gradients(Prompts prompts, Tuning tuning) {
  const auto tensors = tensors_of(prompts, tuning);
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor* tensor) { return tensor->requires_grad(); });
}

Tensor encode_text_in_parts(const TextConfig& config, const TextWeights<FrozenLinear>& weights, const Prompts& prompts,
                            const Tuning& tuning, std::int64_t classes) {
  auto call = c10::make_intrusive<Call>();
  call->config = config;
  call->weights = weights;
  call->prompts = prompts;
  call->tuning = tuning;
  call->classes = std::max<std::int64_t>(1, classes);
  variable_list inputs;
  for (auto* tensor : tensors_of(call->prompts, call->tuning)) {
    inputs.push_back(*tensor);
    *tensor = tensor->detach();
  }
  return EncodeInParts::apply(call, at::TensorList(inputs));
}

}  // namespace attune
