#include "attune/clip/text_parts.h"

#include <algorithm>
#include <numeric>

#include "attune/clip/tower_parts.h"

namespace attune {
namespace {

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
  Prompts given = prompts;
  Tuning given_tuning = tuning;
  std::vector<Tensor> tensors;
  for (Tensor* tensor : tensors_of(given, given_tuning)) {
    tensors.push_back(*tensor);
    *tensor = tensor->detach();
  }
  std::vector<bool> keeps;
  for (const TextPart& part : parts) {
    kept_rows -= part.rows;
    keeps.push_back(kept_rows >= 0);
  }
  const auto part_of = [parts](std::int64_t i) { return parts[static_cast<std::size_t>(i)]; };
  TowerParts call;
  call.count = std::ssize(parts);
  call.slice = [part_of](std::int64_t i, std::size_t, const Tensor& tensor) { return slice(tensor, part_of(i)); };
  call.encode = [config, weights, given, given_tuning, part_of](std::int64_t i, const std::vector<Tensor>& slices) {
    const TextPart part = part_of(i);
    Prompts own = given;
    Tuning own_tuning = given_tuning;
    const std::vector<Tensor*> places = tensors_of(own, own_tuning);
    for (std::size_t p = 0; p < places.size(); ++p) *places[p] = slices[p];
    own.end = own.end.narrow(0, part.first, part.classes);
    return encode_text_at_once(config, weights, own, own_tuning, {part.context, part.first});
  };
  call.join = [part_of, classes = prompts.end.size(0)](const std::vector<Tensor>& features) {
    std::vector<Tensor> rows, row;
    for (std::size_t i = 0; i < features.size(); ++i) {
      const TextPart part = part_of(static_cast<std::int64_t>(i));
      row.push_back(features[i]);
      if (part.first + part.classes < classes) continue;
      rows.push_back(at::cat(row, 1));
      row.clear();
    }
    return at::cat(rows);
  };
  call.share = [part_of](std::int64_t i, const Tensor& gradient) {
    const TextPart part = part_of(i);
    return gradient.narrow(0, part.context, part.contexts).narrow(1, part.first, part.classes);
  };
  call.keeps = [keeps](std::int64_t i) { return static_cast<bool>(keeps[static_cast<std::size_t>(i)]); };
  return encode_in_parts(std::move(call), tensors);
}

}  // namespace attune
