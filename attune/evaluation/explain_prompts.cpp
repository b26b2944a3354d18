#include "attune/evaluation/explain_prompts.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::int64_t kPicturesAtOnce = 64;
constexpr std::int64_t kPicturesTimed = 16;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

Batch batch_of(Inputs& inputs, const Needs& needs, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), first);
  return inputs.batch(samples, std::vector<std::int64_t>(samples.size(), 0), needs);
}

MeanDistance mean_where(const Tensor& distances, const Tensor& pairs) {
  const std::int64_t count = pairs.sum().item<std::int64_t>();
  if (count == 0) return {0, kNone};
  return {count, distances.masked_select(pairs).to(at::kDouble).mean().item<double>()};
}

MeanDistance between_draws_of(const Tensor& prompts) {
  const std::int64_t draws = prompts.size(1);
  if (draws < 2) return {0, kNone};
  const Tensor distances = at::cdist(prompts, prompts, 2, 2);  // [n, draws, draws]
  const Tensor pairs = at::ones({draws, draws}, at::kBool).triu(1).unsqueeze(0).expand_as(distances);
  return mean_where(distances, pairs);
}

/// The name of a label's domain: what stands behind "labels.".
std::string domain_of_label(const std::string& name) {
  constexpr std::string_view kRole = "labels.";
  return name.substr(name.find(kRole) + kRole.size());
}

std::vector<std::pair<std::string, Tensor>> labels_of(const TensorMap& adapter, std::int64_t text_width) {
  std::vector<std::pair<std::string, Tensor>> labels;
  for (const auto& [name, tensor] : adapter) {
    const bool label = name.find("labels.") != std::string::npos;
    if (label && holds_text_tokens(name, tensor, text_width)) labels.emplace_back(name, tensor);
  }
  return labels;
}

std::string domain_name(const Inputs& inputs, std::int64_t sample) {
  if (!inputs.domains().defined()) return "";
  return inputs.domain_names()[static_cast<std::size_t>(inputs.domains()[sample].item<std::int64_t>())];
}

/// All draws [n, draws, M * width], and how long they took for a picture and draw.
Tensor all_prompts(Inputs& inputs, const Needs& needs, GeneratesPrompts& generator, std::int64_t draws,
                   GeneratedPrompts& found, std::int64_t& tokens) {
  std::vector<Tensor> parts;
  double spent = 0;
  for (std::int64_t first = 0; first < inputs.size(); first += kPicturesAtOnce) {
    const Batch batch = batch_of(inputs, needs, first, std::min(kPicturesAtOnce, inputs.size() - first));
    const auto begin = std::chrono::steady_clock::now();
    const Tensor prompts = generator.generated_prompts(batch, draws).to(at::kCPU, at::kFloat);
    if (first > 0 || inputs.size() <= kPicturesAtOnce) spent += milliseconds_since(begin);
    tokens = prompts.size(2);
    parts.push_back(prompts.flatten(2));
  }
  const std::int64_t timed = inputs.size() <= kPicturesAtOnce ? inputs.size() : inputs.size() - kPicturesAtOnce;
  found.generator_ms = spent / static_cast<double>(timed * (found.draws_differ ? draws : 1));
  return at::cat(parts);
}

void place(GeneratedPrompts& found, const Inputs& inputs, const Tensor& first_draws,
           const std::vector<std::pair<std::string, Tensor>>& labels) {
  std::vector<Tensor> flat;
  for (const auto& [name, tensor] : labels) flat.push_back(tensor.to(at::kFloat).flatten().unsqueeze(0));
  const Tensor others = flat.empty() ? at::zeros({0, first_draws.size(1)}) : at::cat(flat);
  const Plane plane = principal_plane(first_draws, others);
  found.variance_shown = plane.share;
  std::vector<std::vector<std::int64_t>> of_label(labels.size());
  for (std::int64_t i = 0; i < inputs.size(); ++i) {
    const std::string domain = domain_name(inputs, i);
    found.points.push_back({plane.rows[i][0].item<double>(), plane.rows[i][1].item<double>(), domain,
                            inputs.samples()[static_cast<std::size_t>(i)].path.string()});
    for (std::size_t k = 0; k < labels.size(); ++k) {
      if (domain_of_label(labels[k].first) == domain) of_label[k].push_back(i);
    }
  }
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const auto row = static_cast<std::int64_t>(k);
    PromptLabel label;
    label.name = labels[k].first;
    label.largest_entry = labels[k].second.abs().max().item<double>();
    label.within_tanh = label.largest_entry < 1;
    label.x = plane.others[row][0].item<double>();
    label.y = plane.others[row][1].item<double>();
    label.distance = kNone;
    if (!of_label[k].empty()) {
      const Tensor own = first_draws.index_select(0, at::tensor(of_label[k], at::kLong));
      label.distance = (own - others[row]).norm(2, 1).to(at::kDouble).mean().item<double>();
    }
    found.labels.push_back(std::move(label));
  }
}

}  // namespace

Plane principal_plane(const Tensor& rows, const Tensor& others) {
  const Tensor mean = rows.mean(0, /*keepdim=*/true);
  const Tensor centred = (rows - mean).to(at::kDouble);
  const auto [u, singular, directions] = at::linalg_svd(centred, /*full_matrices=*/false);
  const std::int64_t axes = std::min<std::int64_t>(2, singular.size(0));
  Tensor basis = directions.narrow(0, 0, axes);
  const Tensor largest = basis.gather(1, basis.abs().argmax(1, true));
  basis = basis * at::where(largest.lt(0), -at::ones_like(largest), at::ones_like(largest));
  const auto onto = [&](const Tensor& points) {
    const Tensor placed = at::matmul((points - mean).to(at::kDouble), basis.t());
    return at::constant_pad_nd(placed, {0, 2 - axes});
  };
  const Tensor variances = singular.square();
  const double all = variances.sum().item<double>();
  return {onto(rows), onto(others), all > 0 ? variances.narrow(0, 0, axes).sum().item<double>() / all : 0.0};
}

GeneratedPrompts look_at_prompts(Classifier& classifier, GeneratesPrompts& generator, Inputs& inputs,
                                 const TensorMap& adapter, const WordSpace& space, std::int64_t draws,
                                 std::int64_t words) {
  if (inputs.size() < 2) {
    throw Error(fmt::format("explain: expected at least two pictures to compare prompts, found {}", inputs.size()));
  }
  const at::NoGradGuard no_gradients;
  const Needs needs = classifier.needs();
  GeneratedPrompts found;
  found.pictures = inputs.size();
  found.draws_differ = generator.draws_differ();
  found.draws = found.draws_differ ? draws : 1;
  std::int64_t tokens = 1;
  const Tensor prompts = all_prompts(inputs, needs, generator, found.draws, found, tokens);
  const Tensor first_draws = prompts.select(1, 0).contiguous();

  found.length = first_draws.norm(2, 1).to(at::kDouble).mean().item<double>();
  found.between_draws = between_draws_of(prompts);
  const std::int64_t count = inputs.size();
  const Tensor distances = at::cdist(first_draws, first_draws, 2, 2);
  const Tensor upper = at::ones({count, count}, at::kBool).triu(1);
  const Tensor domains = inputs.domains().defined() ? inputs.domains() : at::zeros({count}, at::kLong);
  const Tensor same = domains.unsqueeze(0).eq(domains.unsqueeze(1));
  found.within_domains = mean_where(distances, upper.logical_and(same));
  found.between_domains = mean_where(distances, upper.logical_and(same.logical_not()));

  const std::int64_t width = first_draws.size(1) / tokens;
  place(found, inputs, first_draws, labels_of(adapter, width));
  found.mean_words = space.near(first_draws.mean(0).view({tokens, width}), words);
  for (std::size_t i = 0; i < found.mean_words.size(); ++i) {
    found.mean_words[i].tensor = "mean of the generated prompts";
    found.mean_words[i].token = static_cast<std::int64_t>(i);
  }
  for (const auto& [name, tensor] : generator.generator_state()) {
    found.parameters += tensor.numel();
    found.bytes += tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
  }
  const Batch timed = batch_of(inputs, needs, 0, std::min(kPicturesTimed, count));
  const auto begin = std::chrono::steady_clock::now();
  classifier.logits(timed);
  found.text_ms = milliseconds_since(begin) / static_cast<double>(timed.size());
  return found;
}

}  // namespace attune
