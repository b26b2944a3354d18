#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/base/random.h"
#include "attune/tensors/tensor.h"

namespace attune {

inline constexpr std::int64_t kDrawings = 24, kTexts = 40, kSide = 16, kTeacher = 12, kJoint = 8;

inline Tensor random_drawings(std::int64_t count, std::uint64_t seed) {
  KeyedRandom random(seed, "test.drawings");
  const Tensor alpha = uniform({count, kSide, kSide, 1}, 0, 1, random);
  const Tensor colour = uniform({count, kSide, kSide, 3}, 0, 1, random);
  return (at::cat({colour * alpha, alpha}, 3) * 255).round().to(at::kByte);
}

/// A pack of random drawings in which every second one is an emoji and each pair of neighbours shares a key.
inline void write_tiny_pack(const std::filesystem::path& folder) {
  KeyedRandom random(3, "test.pack");
  const Tensor order = at::arange(kDrawings, at::kLong);
  save_tensors(folder / "drawings.safetensors", {{"rgba", random_drawings(kDrawings, 1)},
                                                 {"mono", order.remainder(3).eq(0).to(at::kByte)},
                                                 {"key", order.div(2, "floor").to(at::kLong)},
                                                 {"weight", at::ones({kDrawings})},
                                                 {"kind", order.remainder(2).to(at::kByte)},
                                                 {"caption", at::stack({order, order + 1}, 1).to(at::kInt)}});
  save_tensors(folder / "teacher.safetensors", {{"embedding", normal({kTexts, kTeacher}, 0, 1, random).to(at::kHalf)},
                                                {"mean", at::zeros({kTeacher})},
                                                {"axes", at::eye(kTeacher).narrow(0, 0, kJoint).contiguous()}});
  save_tensors(folder / "evaluation.safetensors", {{"rgba", random_drawings(12, 2)},
                                                   {"set", at::arange(12, at::kLong).remainder(2).to(at::kByte)},
                                                   {"concept", at::arange(12, at::kLong).remainder(6)}});
  std::string texts;
  for (int i = 0; i < kTexts; ++i)
    texts += "a drawing of thing " + std::string(static_cast<std::size_t>(i % 5), 'x') + std::to_string(i) + "\n";
  write_file(folder / "texts.txt", texts);
  write_json(folder / "pack.json", {{"rows", {{"evaluation", {kTexts - 6, kTexts}}}}, {"sets", {"one", "two"}}});
  Json concepts = Json::array();
  for (int i = 0; i < 6; ++i) {
    concepts.push_back(
        {{"name", "thing " + std::to_string(i)}, {"subgroup", i < 4 ? "s" : "t"}, {"held_out", i % 3 == 0}});
  }
  write_json(
      folder / "benchmark.json",
      {{"concepts", concepts}, {"subgroups", {{{"key", "s"}, {"name", "sort"}}, {{"key", "t"}, {"name", "kind"}}}}});
}

/// A recipe whose three stages take 48, 48 and 32 samples of the tiny pack in `folder`, in batches of 8.
inline std::vector<std::string> tiny_pack_recipe(const std::filesystem::path& folder) {
  return {"model.width=12",
          "model.heads=2",
          "model.patch=8",
          "model.image_layers=2",
          "model.text_layers=2",
          "text.samples=48",
          "text.batch=8",
          "text.warmup=2",
          "image.samples=48",
          "image.batch=8",
          "image.warmup=2",
          "joint.samples=32",
          "joint.batch=8",
          "joint.warmup=1",
          "joint.extra_texts=4",
          "evaluation.samples=24",
          "tokenizer=" ATTUNE_SOURCE_DIR "/models/pocket/tokenizer.json",
          "benchmark=" + (folder / "benchmark.json").string()};
}

}  // namespace attune
