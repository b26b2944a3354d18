#include "attune/training/pretrain_data.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/clip/contrastive.h"

namespace attune {
namespace {

/// A tensor of a pack, checked for type and shape; -1 in `shape` stands for any length.
Tensor checked(const SafetensorsFile& file, const std::string& name, at::ScalarType type,
               const std::vector<std::int64_t>& shape) {
  const Tensor tensor = borrow(file.at(name));
  bool fits = tensor.scalar_type() == type && tensor.dim() == static_cast<std::int64_t>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] < 0 || shape[i] == tensor.size(static_cast<std::int64_t>(i));
  }
  if (!fits) {
    throw Error(fmt::format("{}: tensor '{}': expected {} [{}] (-1: any), found {} [{}]", file.path().string(), name,
                            at::toString(type), fmt::join(shape, ", "), at::toString(tensor.scalar_type()),
                            fmt::join(tensor.sizes(), ", ")));
  }
  return tensor;
}

}  // namespace

PretrainData::PretrainData(const std::filesystem::path& folder)
    : file_(folder / "drawings.safetensors"), texts_(read_lines(folder / "texts.txt")) {
  read_drawings();
  read_rows(folder);
  read_teacher(folder);
}

void PretrainData::read_drawings() {
  rgba_ = checked(file_, "rgba", at::kByte, {-1, -1, -1, 4});
  const std::int64_t count = rgba_.size(0);
  if (rgba_.size(1) != rgba_.size(2)) {
    throw Error(fmt::format("{}: tensor 'rgba': expected square drawings, found {} x {}", file_.path().string(),
                            rgba_.size(1), rgba_.size(2)));
  }
  mono_ = checked(file_, "mono", at::kByte, {count}).to(at::kBool);
  key_ = checked(file_, "key", at::kLong, {count});
  caption_ = checked(file_, "caption", at::kInt, {count, -1});
  const auto texts = static_cast<std::int64_t>(texts_.size());
  if (caption_.numel() == 0 || caption_.min().item<int>() < 0 || caption_.max().item<int>() >= texts) {
    throw Error(fmt::format("{}: tensor 'caption': expected rows of texts.txt in 0..{}, found none or others",
                            file_.path().string(), texts - 1));
  }
  const Tensor weight = checked(file_, "weight", at::kFloat, {count}),
               kind = checked(file_, "kind", at::kByte, {count});
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = weight.const_data_ptr<float>()[i];
    if (!(value >= 0.0) || !std::isfinite(value)) {
      throw Error(fmt::format("{}: tensor 'weight': expected numbers from 0 on, found {} for drawing {}",
                              file_.path().string(), value, i));
    }
    Pool& pool = kind.const_data_ptr<std::uint8_t>()[i] == 0 ? emoji_ : others_;
    pool.drawings.push_back(i);
    pool.sums.push_back((pool.sums.empty() ? 0.0 : pool.sums.back()) + value);
  }
}

void PretrainData::read_rows(const std::filesystem::path& folder) {
  const std::string path = (folder / "pack.json").string();
  const Json rows = json_at<Json>(read_json(path), "rows", path);
  const auto evaluation = json_at<std::vector<std::int64_t>>(rows, "evaluation", path);
  const auto texts = static_cast<std::int64_t>(texts_.size());
  if (evaluation.size() != 2 || evaluation[0] < 1 || evaluation[0] > texts || evaluation[1] != texts) {
    throw Error(fmt::format("{}: rows.evaluation: expected [first, {}], the last lines of texts.txt, found [{}]", path,
                            texts, fmt::join(evaluation, ", ")));
  }
  training_texts_ = evaluation[0];
}

void PretrainData::read_teacher(const std::filesystem::path& folder) {
  const SafetensorsFile teacher(folder / "teacher.safetensors");
  const auto type = borrow(teacher.at("embedding")).scalar_type() == at::kHalf ? at::kHalf : at::kFloat;
  const Tensor embedding = checked(teacher, "embedding", type, {static_cast<std::int64_t>(texts_.size()), -1});
  const std::int64_t width = embedding.size(1);
  const Tensor mean = checked(teacher, "mean", at::kFloat, {width});
  const Tensor axes = checked(teacher, "axes", at::kFloat, {-1, width});
  targets_ = at::empty({embedding.size(0), axes.size(0)});
  constexpr std::int64_t kRows = 16384;  // bounds the memory of the fp32 copies
  for (std::int64_t begin = 0; begin < embedding.size(0); begin += kRows) {
    const std::int64_t rows = std::min(kRows, embedding.size(0) - begin);
    const Tensor centred = embedding.narrow(0, begin, rows).to(at::kFloat) - mean;
    targets_.narrow(0, begin, rows).copy_(unit_rows(at::mm(centred, axes.t())));
  }
  if (!targets_.isfinite().all().item<bool>()) {
    throw Error(fmt::format("{}: expected finite embeddings, found others", teacher.path().string()));
  }
}

PretrainData::Batch PretrainData::draw(std::int64_t size, double emoji_share, std::uint64_t seed,
                                       std::int64_t step) const {
  KeyedRandom random(seed, "pretrain.draw", static_cast<std::uint64_t>(step));
  const auto emoji = static_cast<std::int64_t>(std::llround(emoji_share * static_cast<double>(size)));
  const Tensor rows = at::empty({size}, at::kLong), text = at::empty({size}, at::kLong);
  const std::int64_t captions = caption_.size(1);
  for (std::int64_t i = 0; i < size; ++i) {
    const bool first = i < emoji;
    const Pool& pool = first ? emoji_ : others_;
    if (pool.sums.empty() || pool.sums.back() <= 0.0) {
      throw Error(fmt::format("{}: expected {} (a share of {} is asked for), found none", file_.path().string(),
                              first ? "emoji" : "drawings other than emoji", first ? emoji_share : 1 - emoji_share));
    }
    const auto stratum = static_cast<double>(first ? i : i - emoji);
    const auto strata = static_cast<double>(first ? emoji : size - emoji);
    const double at = (stratum + random.uniform()) / strata * pool.sums.back();
    const auto found = std::upper_bound(pool.sums.begin(), pool.sums.end(), at);
    const auto index = std::min<std::ptrdiff_t>(found - pool.sums.begin(), std::ssize(pool.sums) - 1);
    const std::int64_t drawing = pool.drawings[static_cast<std::size_t>(index)];
    rows.data_ptr<std::int64_t>()[i] = drawing;
    const auto caption = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(captions)));
    text.data_ptr<std::int64_t>()[i] = caption_.const_data_ptr<int>()[drawing * captions + caption];
  }
  return {rgba_.index_select(0, rows), mono_.index_select(0, rows), key_.index_select(0, rows), text};
}

}  // namespace attune
