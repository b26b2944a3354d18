#include "attune/methods/learner.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {

void copy_state(const TensorMap& from, const TensorMap& to, const std::string& where) {
  const at::NoGradGuard no_gradients;
  for (const auto& [name, target] : to) {
    const auto found = from.find(name);
    if (found == from.end()) throw Error(fmt::format("{}: expected a tensor \"{}\", which is missing", where, name));
    if (found->second.sizes() != target.sizes()) {
      throw Error(fmt::format("{}: expected \"{}\" of shape [{}], found [{}]", where, name,
                              fmt::join(target.sizes(), ", "), fmt::join(found->second.sizes(), ", ")));
    }
    target.copy_(found->second);
  }
  for (const auto& [name, source] : from) {
    if (!to.contains(name)) throw Error(fmt::format("{}: found a tensor \"{}\" that is not expected", where, name));
  }
}

void expect_trained_classes(const std::string& method, const std::vector<std::string>& trained,
                            const ClassNames& found) {
  if (found.names == trained) return;
  if (found.names.size() != trained.size()) {
    throw UsageError(
        fmt::format("{}: expected the {} classes it was trained on, found {}; train a prompt method, such "
                    "as coop, to name new classes",
                    method, trained.size(), found.names.size()));
  }
  const auto differ = std::mismatch(trained.begin(), trained.end(), found.names.begin());
  throw UsageError(
      fmt::format("{}: expected the classes it was trained on, in their order, found \"{}\" in the place of \"{}\"",
                  method, *differ.second, *differ.first));
}

TensorMap detached(const TensorMap& tensors) {
  TensorMap state;
  for (const auto& [name, tensor] : tensors) state[name] = tensor.detach();
  return state;
}

void add_state(TensorMap& all, const std::string& prefix, const TensorMap& part) {
  for (const auto& [name, tensor] : part) all[prefix + name] = tensor;
}

TensorMap part_of_state(const TensorMap& all, const std::string& prefix) {
  TensorMap part;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) part[name.substr(prefix.size())] = tensor;
  }
  return part;
}

Tensor normalise_rows(const Tensor& features) {
  return features / features.norm(2, -1, true);
}

Tensor cosine_logits(const Tensor& image_features, const Tensor& class_features, double logit_scale) {
  return at::matmul(normalise_rows(image_features), normalise_rows(class_features).t()) * logit_scale;
}

Tensor cosine_logits_per_image(const Tensor& image_features, const Tensor& class_features, double logit_scale) {
  return at::matmul(normalise_rows(class_features), normalise_rows(image_features).unsqueeze(2)).squeeze(2) *
         logit_scale;
}

}  // namespace attune
