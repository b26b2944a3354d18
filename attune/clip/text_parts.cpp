#include "attune/clip/text_parts.h"

#include <algorithm>
#include <numeric>

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "attune/tensors/parallel.h"

namespace attune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Every tensor of a call that may want a gradient: prefix and suffix first.
std::vector<Tensor*> tensors_of(Prompts& prompts, Tuning& tuning) {
  std::vector<Tensor*> tensors{&prompts.prefix, &prompts.suffix};
  const std::vector<Tensor*> tuned = tensors_of(tuning);
  tensors.insert(tensors.end(), tuned.begin(), tuned.end());
  return tensors;
}

/// What a part sees of a tensor of a call of several `contexts`: those of three and more dimensions lead with the
/// contexts unless shared, and the suffix, of four, goes on with the classes.
Tensor slice(const Tensor& tensor, const TextPart& part) {
  Tensor seen = tensor;
  if (tensor.dim() >= 3 && tensor.size(0) > 1) seen = seen.narrow(0, part.context, part.contexts);
  if (tensor.dim() == 4) seen = seen.narrow(1, part.first, part.classes);
  return seen;
}

/// A call with what its backward needs. Tensors are detached.
struct Call : torch::CustomClassHolder {
  TextConfig config;
  TextWeights<FrozenLinear> weights;
  Prompts prompts;
  Tuning tuning;
  std::vector<bool> wanted;  // gradients, in the order of tensors_of
  std::vector<TextPart> parts;

  /// The features of a part and the slices that they were made from.
  struct Graph {
    Tensor features;
    variable_list leaves;
  };
  std::vector<Graph> kept;

  Graph encode(const TextPart& part, bool gradients) const {
    const at::AutoGradMode mode(gradients);
    Graph graph;
    Prompts own = prompts;
    Tuning own_tuning = tuning;
    const auto tensors = tensors_of(own, own_tuning);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      *tensors[i] = slice(*tensors[i], part).detach();
      if (!gradients || !wanted[i]) continue;
      tensors[i]->requires_grad_(true);
      graph.leaves.push_back(*tensors[i]);
    }
    own.end = own.end.narrow(0, part.first, part.classes);
    graph.features = encode_text_at_once(config, weights, own, own_tuning);
    return graph;
  }

  /// Puts features [contexts, classes, d] of the parts together.
  Tensor join(const std::vector<Tensor>& features) const {
    std::vector<Tensor> rows, row;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      row.push_back(features[i]);
      if (parts[i].first + parts[i].classes < prompts.end.size(0)) continue;
      rows.push_back(at::cat(row, 1));
      row.clear();
    }
    return at::cat(rows);
  }
};

struct EncodeInParts : torch::autograd::Function<EncodeInParts> {
  static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Call>& call, std::int64_t kept_rows,
                        at::TensorList /*inputs*/) {
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    const std::size_t count = call->parts.size();
    std::vector<bool> keep(count);
    for (std::size_t i = 0; i < count; ++i) {
      kept_rows -= call->parts[i].rows;
      keep[i] = kept_rows >= 0;
    }
    call->kept.resize(count);
    std::vector<Tensor> features(count);
    in_parallel(std::ssize(call->parts), [&](std::int64_t at) {
      const auto i = static_cast<std::size_t>(at);
      Call::Graph graph = call->encode(call->parts[i], keep[i]);
      features[i] = graph.features.detach();
      if (keep[i]) call->kept[i] = std::move(graph);
    });
    return call->join(features);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto held = context->saved_data["call"].toCapsule();
    auto& call = *static_cast<Call*>(held.get());
    std::vector<variable_list> own(call.parts.size());
    in_parallel(std::ssize(call.parts), [&](std::int64_t at) {
      const auto i = static_cast<std::size_t>(at);
      const TextPart& part = call.parts[i];
      Call::Graph graph = std::move(call.kept[i]);
      call.kept[i] = {};
      if (!graph.features.defined()) graph = call.encode(part, true);
      const Tensor gradient = gradients[0].narrow(0, part.context, part.contexts).narrow(1, part.first, part.classes);
      own[i] = torch::autograd::grad({graph.features}, graph.leaves, {gradient}, std::nullopt, false, true);
    });
    return sum(call, own);
  }

 private:
  /// The parts' gradients at the places of their slices, added up in the order of the parts. The first two inputs of
  /// `forward` have none.
  static variable_list sum(Call& call, const std::vector<variable_list>& own) {
    const at::NoGradGuard no_gradients;
    const auto tensors = tensors_of(call.prompts, call.tuning);
    variable_list sums(tensors.size() + 2);
    std::size_t leaf = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!call.wanted[i]) continue;
      Tensor total = at::zeros_like(*tensors[i]);
      for (std::size_t p = 0; p < own.size(); ++p) {
        if (own[p][leaf].defined()) slice(total, call.parts[p]).add_(own[p][leaf]);
      }
      sums[i + 2] = total;
      ++leaf;
    }
    return sums;
  }
};

/// Cuts `lengths` into `count` runs of about equal sums: their ends.
std::vector<std::int64_t> balanced_ends(const std::vector<std::int64_t>& lengths, std::int64_t count) {
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  std::vector<std::int64_t> ends;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    sum += lengths[i];
    const bool last = i + 1 == lengths.size();
    if (last || sum * count >= total * (std::ssize(ends) + 1)) ends.push_back(static_cast<std::int64_t>(i) + 1);
  }
  return ends;
}

}  // namespace

std::int64_t text_contexts(const Prompts& prompts, const Tuning& tuning) {
  std::int64_t contexts = std::max(prompts.prefix.size(0), prompts.suffix.size(0));
  for (const auto& block : tuning.blocks) {
    if (block.tokens.defined()) contexts = std::max(contexts, block.tokens.size(0));
  }
  return contexts;
}

bool wants_gradients(Prompts prompts, Tuning tuning) {
  return wants_gradients(tensors_of(prompts, tuning));
}

std::vector<TextPart> divide_text(std::int64_t contexts, std::int64_t prefix, const std::vector<std::int64_t>& lengths,
                                  std::int64_t wanted, std::int64_t most_rows) {
  const std::int64_t one = std::accumulate(lengths.begin(), lengths.end(), prefix);  // rows of a context
  const std::int64_t count = std::max(wanted, (contexts * one + most_rows - 1) / most_rows);
  const std::int64_t by_context = std::min(count, contexts), by_class = (count + by_context - 1) / by_context;
  const std::vector<std::int64_t> ends = balanced_ends(lengths, by_class);
  std::vector<TextPart> parts;
  for (std::int64_t i = 0; i < by_context; ++i) {
    const std::int64_t begin = contexts * i / by_context, past = contexts * (i + 1) / by_context;
    std::int64_t first = 0;
    for (const std::int64_t end : ends) {
      const std::int64_t suffixes = std::accumulate(lengths.begin() + first, lengths.begin() + end, std::int64_t{0});
      parts.push_back({begin, past - begin, first, end - first, (past - begin) * (prefix + suffixes)});
      first = end;
    }
  }
  return parts;
}

Tensor encode_text_in_parts(const TextConfig& config, const TextWeights<FrozenLinear>& weights, const Prompts& prompts,
                            const Tuning& tuning, const std::vector<TextPart>& parts, std::int64_t kept_rows) {
  auto call = c10::make_intrusive<Call>();
  call->config = config;
  call->weights = weights;
  call->prompts = prompts;
  call->tuning = tuning;
  call->parts = parts;
  variable_list inputs;
  for (auto* tensor : tensors_of(call->prompts, call->tuning)) {
    inputs.push_back(*tensor);
    call->wanted.push_back(tensor->requires_grad());
    *tensor = tensor->detach();
  }
  return EncodeInParts::apply(call, kept_rows, at::TensorList(inputs));
}

}  // namespace attune
