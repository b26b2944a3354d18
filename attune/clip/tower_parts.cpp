#include "attune/clip/tower_parts.h"

#include <algorithm>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attune/tensors/parallel.h"

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A call with what its backward needs. Tensors are detached.
struct Call : torch::CustomClassHolder {
  TowerParts parts;
  variable_list tensors;
  std::vector<bool> wanted;  // gradients

  /// The features of a part and the slices that they were made from and that want gradients.
  struct Graph {
    Tensor features;
    variable_list leaves;
  };
  std::vector<Graph> kept;

  Graph encode(std::int64_t part, bool gradients) const {
    const at::AutoGradMode mode(gradients);
    Graph graph;
    variable_list slices(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!tensors[i].defined()) continue;
      slices[i] = parts.slice(part, i, tensors[i]).detach();
      if (!gradients || !wanted[i]) continue;
      slices[i].requires_grad_(true);
      graph.leaves.push_back(slices[i]);
    }
    graph.features = parts.encode(part, slices);
    return graph;
  }
};

struct EncodeInParts : torch::autograd::Function<EncodeInParts> {
  static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Call>& call, at::TensorList /*inputs*/) {
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    const TowerParts& parts = call->parts;
    const bool graph = std::find(call->wanted.begin(), call->wanted.end(), true) != call->wanted.end();
    call->kept.resize(static_cast<std::size_t>(parts.count));
    std::vector<Tensor> features(call->kept.size());
    in_parallel(parts.count, [&](std::int64_t part) {
      const auto at = static_cast<std::size_t>(part);
      const bool keep = graph && parts.keeps(part);
      Call::Graph made = call->encode(part, keep);
      features[at] = made.features.detach();
      if (keep) call->kept[at] = std::move(made);
    });
    return parts.join(features);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto held = context->saved_data["call"].toCapsule();
    auto& call = *static_cast<Call*>(held.get());
    std::vector<variable_list> own(call.kept.size());
    in_parallel(call.parts.count, [&](std::int64_t part) {
      const auto at = static_cast<std::size_t>(part);
      Call::Graph graph = std::move(call.kept[at]);
      call.kept[at] = {};
      if (!graph.features.defined()) graph = call.encode(part, true);
      own[at] = torch::autograd::grad({graph.features}, graph.leaves, {call.parts.share(part, gradients[0])},
                                      std::nullopt, false, true);
    });
    return sum(call, own);
  }

 private:
  /// The parts' gradients at the places of their slices, added up in the order of the parts. The first input of
  /// `forward` has none.
  static variable_list sum(const Call& call, const std::vector<variable_list>& own) {
    const at::NoGradGuard no_gradients;
    variable_list sums(call.tensors.size() + 1);
    std::size_t leaf = 0;
    for (std::size_t i = 0; i < call.tensors.size(); ++i) {
      if (!call.wanted[i]) continue;
      Tensor total = at::zeros_like(call.tensors[i]);
      for (std::size_t part = 0; part < own.size(); ++part) {
        const Tensor& gradient = own[part][leaf];
        if (gradient.defined()) call.parts.slice(static_cast<std::int64_t>(part), i, total).add_(gradient);
      }
      sums[i + 1] = total;
      ++leaf;
    }
    return sums;
  }
};

}  // namespace

Tensor encode_in_parts(TowerParts parts, const std::vector<Tensor>& tensors) {
  auto call = c10::make_intrusive<Call>();
  call->parts = std::move(parts);
  for (const Tensor& tensor : tensors) {
    call->wanted.push_back(tensor.defined() && tensor.requires_grad() && at::GradMode::is_enabled());
    call->tensors.push_back(tensor.defined() ? tensor.detach() : tensor);
  }
  return EncodeInParts::apply(call, at::TensorList(tensors));
}

}  // namespace attune
