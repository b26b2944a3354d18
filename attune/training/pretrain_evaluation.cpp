#include "attune/training/pretrain_evaluation.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/contrastive.h"
#include "attune/training/pretrain_augment.h"

namespace attune {
namespace {

constexpr std::array kTemplates = {"{}", "a drawing of a {}", "an icon of a {}", "an emoji of a {}",
                                   "a picture of a {}"};

/// Shares of rows whose true class is the first, or among the first five, by score [B, C].
Json accuracy(const Tensor& scores, const Tensor& truth) {
  const std::int64_t count = truth.size(0);
  if (count == 0) return {{"top1", nullptr}, {"top5", nullptr}, {"count", 0}};
  const Tensor best = std::get<1>(scores.topk(std::min<std::int64_t>(5, scores.size(1)), 1));
  const Tensor hits = best.eq(truth.unsqueeze(1));
  const auto share = [count](const Tensor& found) {
    return static_cast<double>(found.sum().item<std::int64_t>()) / static_cast<double>(count);
  };
  return {{"top1", share(hits.select(1, 0))}, {"top5", share(hits.any(1))}, {"count", count}};
}

/// The same for all rows, for those of concepts that were seen in training, and for the others.
Json by_novelty(const Tensor& scores, const Tensor& truth, const Tensor& held_out) {
  const auto part = [&](const Tensor& chosen) {
    const Tensor rows = chosen.nonzero().squeeze(1);
    return accuracy(scores.index_select(0, rows), truth.index_select(0, rows));
  };
  return {{"all", accuracy(scores, truth)}, {"seen", part(held_out.logical_not())}, {"held_out", part(held_out)}};
}

}  // namespace

NamingGate::NamingGate(const std::filesystem::path& benchmark, const std::filesystem::path& data)
    : file_(data / "evaluation.safetensors"),
      rgba_(borrow(file_.at("rgba"))),
      set_(borrow(file_.at("set"))),
      concept_(borrow(file_.at("concept"))) {
  const std::string where = benchmark.string();
  const Json document = read_json(benchmark);
  std::vector<std::string> keys;
  for (const Json& subgroup : json_at<Json>(document, "subgroups", where)) {
    keys.push_back(json_at<std::string>(subgroup, "key", where));
    subgroup_names_.push_back(json_at<std::string>(subgroup, "name", where));
  }
  std::vector<std::int64_t> groups, held_out;
  for (const Json& concept_entry : json_at<Json>(document, "concepts", where)) {
    concept_names_.push_back(json_at<std::string>(concept_entry, "name", where));
    held_out.push_back(json_at<bool>(concept_entry, "held_out", where) ? 1 : 0);
    const auto found = std::find(keys.begin(), keys.end(), json_at<std::string>(concept_entry, "subgroup", where));
    groups.push_back(found == keys.end() ? -1 : found - keys.begin());
  }
  held_out_ = at::tensor(held_out).to(at::kBool);
  subgroup_ = at::tensor(groups);

  const std::filesystem::path pack = data / "pack.json";
  set_names_ = json_at<std::vector<std::string>>(read_json(pack), "sets", pack.string());
  const std::int64_t count = rgba_.dim() == 4 ? rgba_.size(0) : -1;
  const bool fits = count > 0 && rgba_.scalar_type() == at::kByte && rgba_.size(3) == 4 &&
                    set_.scalar_type() == at::kByte && set_.sizes() == at::IntArrayRef{count} &&
                    concept_.scalar_type() == at::kLong && concept_.sizes() == at::IntArrayRef{count};
  if (!fits || set_.max().item<std::int64_t>() >= std::ssize(set_names_) || concept_.min().item<std::int64_t>() < 0 ||
      concept_.max().item<std::int64_t>() >= std::ssize(concept_names_)) {
    throw Error(
        fmt::format("{}: expected rgba U8 [M, S, S, 4], set U8 [M] below {} and concept I64 [M] below {}, "
                    "found others",
                    file_.path().string(), set_names_.size(), concept_names_.size()));
  }
}

Tensor NamingGate::class_features(const TextEncoder& text, const std::vector<std::string>& names) const {
  Tensor sum;
  for (const char* words : kTemplates) {
    std::vector<std::string> sentences;
    for (const std::string& name : names) sentences.push_back(fmt::format(fmt::runtime(words), name));
    const Tensor features = unit_rows(text(sentences));
    sum = sum.defined() ? sum + features : features;
  }
  return unit_rows(sum);
}

Json NamingGate::measure(const TextEncoder& text, const ImageEncoder& image) const {
  at::NoGradGuard no_grad;
  const Tensor concepts = class_features(text, concept_names_), subgroups = class_features(text, subgroup_names_);
  Json measured = Json::object();
  for (std::size_t i = 0; i < set_names_.size(); ++i) {
    const Tensor rows = set_.eq(static_cast<std::int64_t>(i)).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    std::vector<Tensor> features;
    for (const Tensor& part : rows.split(256)) {
      features.push_back(image(normalise_pixels(plain_drawings(rgba_.index_select(0, part)))));
    }
    measured[set_names_[i]] =
        measure_set(unit_rows(at::cat(features)), concept_.index_select(0, rows), concepts, subgroups);
  }
  return measured;
}

Json NamingGate::measure_set(const Tensor& features, const Tensor& concept_rows, const Tensor& concepts,
                             const Tensor& subgroups) const {
  const Tensor held_out = held_out_.index_select(0, concept_rows);
  const Tensor group = subgroup_.index_select(0, concept_rows);
  const Tensor grouped = group.ge(0).nonzero().squeeze(1);
  return {{"concepts", by_novelty(at::mm(features, concepts.t()), concept_rows, held_out)},
          {"subgroups", by_novelty(at::mm(features.index_select(0, grouped), subgroups.t()),
                                   group.index_select(0, grouped), held_out.index_select(0, grouped))}};
}

std::string summary(const Json& measured) {
  std::string text;
  for (const auto& [set, result] : measured.items()) {
    const auto percent = [&result = result](const char* task, const char* part, const char* rank) {
      const Json& share = result[task][part][rank];
      return share.is_null() ? 0.0 : 100.0 * share.get<double>();
    };
    text += fmt::format(
        "{:28} concepts {:4.1f} (top-5 {:4.1f}; held out {:4.1f}, {:4.1f})  subgroups seen {:4.1f} held out {:4.1f}\n",
        set, percent("concepts", "seen", "top1"), percent("concepts", "seen", "top5"),
        percent("concepts", "held_out", "top1"), percent("concepts", "held_out", "top5"),
        percent("subgroups", "seen", "top1"), percent("subgroups", "held_out", "top1"));
  }
  return text;
}

}  // namespace attune
