#include "attune/clip/vit.h"

#include <cmath>

#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/clip/value_cells.h"
#include "attune/clip/vit_parts.h"
#include "attune/clip/weights.h"
#include "tests/support/close.h"

namespace attune {
namespace {

using testing_support::expect_close;

struct VitTest : testing::Test {
  ClipConfig config;
  NamedTensors source;
  VitWeights<FrozenLinear> weights;
  KeyedRandom random{9, "test.vit"};

  VitTest() {
    config.joint_width = 24;
    config.vision.image_size = 24;
    config.vision.patch = 8;
    config.vision.width = 32;
    config.vision.hidden = 64;
    config.vision.layers = 3;
    config.vision.heads = 4;
    source = {random_vit_tensors(config, 3), "random"};
    for (auto& [name, tensor] : source.tensors) tensor = tensor + normal(tensor.sizes(), 0.0, 0.05, random);
    weights = frozen_vit_weights(config, source);
  }
  Tensor pixels(std::int64_t batch = 2) { return normal({batch, 3, 24, 24}, 0.0, 1.0, random); }
  Tensor tokens(std::int64_t batch, std::int64_t count) { return normal({batch, count, 32}, 0.0, 0.5, random); }
  ImageFeatures encode(const Tensor& given, const Tuning& tuning = {}, bool local = false) {
    return encode_vit(config.vision, weights, given, tuning, local);
  }
};

TEST_F(VitTest, LocalFeaturesLeaveTheGlobalOneAsItIs) {
  const Tensor given = pixels();
  const auto both = encode(given, {}, true);
  EXPECT_EQ(both.local.sizes(), (at::IntArrayRef{2, 9, 24}));
  expect_close(both.global, encode(given).global);
  EXPECT_FALSE(encode(given).local.defined());
}

TEST_F(VitTest, CellsByValuesAttendToEachOtherByTheirValues) {
  const Tensor given = pixels();
  const Tensor found = value_cells(*make_vit(config.vision, weights), given);
  // The same with plain matrices.
  VitWeights<FrozenLinear> shorter = weights;
  shorter.transformer.blocks.pop_back();
  const auto& [norm1, norm2, qkv, out, fc1, fc2] = weights.transformer.blocks.back();
  Tensor rows = at::cat({weights.class_token.expand({2, 1, 32}), weights.patch(patches_of(given, 8))}, 1);
  rows = weights.before(rows + weights.positions);
  for (const auto& block : shorter.transformer.blocks)
    rows = full_block(block, 4, config.vision.activation, rows, rows.size(1));
  const Tensor values = qkv(norm1(rows)).narrow(2, 64, 32).view({2, 10, 4, 8}).transpose(1, 2);  // [B, heads, T, 8]
  const Tensor shares = at::softmax(at::matmul(values, values.transpose(2, 3)) / std::sqrt(8.0), -1);
  const Tensor mixed = rows + out(at::matmul(shares, values).transpose(1, 2).reshape({2, 10, 32}));
  const Tensor hidden = fc1(norm2(mixed));
  const Tensor finished = mixed + fc2(hidden * at::sigmoid(1.702 * hidden));
  expect_close(found, weights.projection(weights.after(finished.narrow(1, 1, 9))));
  EXPECT_GT((found - encode(given, {}, true).local).abs().max().item<double>(), 1e-3);
}

TEST_F(VitTest, PlaceOfTokensChangesNothingBecauseAttentionHasNoOrder) {
  const Tensor given = pixels();
  Tuning tuning;
  tuning.blocks.resize(3);
  for (auto& block : tuning.blocks) block = {.place = Place::kAtEnd, .tokens = tokens(1, 2)};
  const auto at_end = encode(given, tuning, true);
  for (auto& block : tuning.blocks) block.place = Place::kAfterClass;
  const auto after_class = encode(given, tuning, true);
  expect_close(after_class.global, at_end.global);
  expect_close(after_class.local, at_end.local);
  EXPECT_GT((at_end.global - encode(given).global).abs().max().item<double>(), 1e-3);
  expect_close(encode(given, tuning).global, at_end.global);
}

TEST_F(VitTest, LaterTokensReplaceTheOnesBefore) {
  const Tensor given = pixels(1);
  Tuning deep;
  deep.blocks.resize(3);
  deep.blocks[1].tokens = tokens(1, 2);
  deep.blocks[2].tokens = tokens(1, 2);
  const Tensor with_both = encode(given, deep).global;
  Tuning last_only;
  last_only.blocks.resize(3);
  last_only.blocks[2].tokens = deep.blocks[2].tokens;
  Tuning zero_first = deep;
  zero_first.blocks[1].tokens = tokens(1, 2);
  EXPECT_GT((with_both - encode(given, last_only).global).abs().max().item<double>(), 1e-4);
  EXPECT_GT((with_both - encode(given, zero_first).global).abs().max().item<double>(), 1e-4);
  // A replaced token leaves the last block with the same tokens: only what the others saw of it stays.
  Tuning gone = deep;
  gone.blocks[2].tokens = Tensor();
  EXPECT_GT((with_both - encode(given, gone).global).abs().max().item<double>(), 1e-4);
}

TEST_F(VitTest, TokensOfEachImageEqualSeparateCalls) {
  const Tensor given = pixels(3);
  Tuning tuning;
  tuning.blocks.resize(2);
  for (auto& block : tuning.blocks) block.tokens = tokens(3, 2);
  const Tensor together = encode(given, tuning).global;
  for (std::int64_t i = 0; i < 3; ++i) {
    Tuning alone = tuning;
    for (auto& block : alone.blocks) block.tokens = block.tokens.narrow(0, i, 1);
    expect_close(together.narrow(0, i, 1), encode(given.narrow(0, i, 1), alone).global);
  }
}

TEST_F(VitTest, ZeroUpMatricesChangeNothing) {
  const LowRank zero{.down = normal({2, 32}, 0.0, 1.0, random), .up = at::zeros({32, 2})};
  const Tensor given = pixels();
  expect_close(encode(given, Tuning{{{.q = zero, .k = zero, .v = zero, .out = zero}}}).global, encode(given).global,
               1e-6);
}

TEST_F(VitTest, GradientsReachPixelsAndTokens) {
  Tensor given = pixels().set_requires_grad(true);
  Tuning tuning;
  tuning.blocks.resize(3);
  for (auto& block : tuning.blocks) block.tokens = tokens(1, 2).set_requires_grad(true);
  const auto features = encode(given, tuning, true);
  (features.global.sum() + features.local.square().sum()).backward();
  EXPECT_GT(given.grad().abs().max().item<double>(), 0.0);
  for (const auto& block : tuning.blocks) EXPECT_GT(block.tokens.grad().abs().max().item<double>(), 0.0);
}

TEST_F(VitTest, PartsGiveTheFeaturesAndGradientsOfTheWhole) {
  Tensor given = pixels(5).set_requires_grad(true);
  Tuning tuning;
  tuning.blocks.resize(3);
  tuning.blocks[0] = {.place = Place::kAfterClass, .tokens = tokens(1, 2)};
  tuning.blocks[1] = {.place = Place::kAfterClass, .tokens = tokens(5, 2)};
  tuning.blocks[2].qkv = {.down = normal({2, 32}, 0.0, 0.3, random), .up = normal({96, 2}, 0.0, 0.3, random)};
  const std::vector<Tensor*> leaves = {&given, &tuning.blocks[0].tokens, &tuning.blocks[1].tokens,
                                       &tuning.blocks[2].qkv.down, &tuning.blocks[2].qkv.up};
  for (auto* leaf : leaves) leaf->set_requires_grad(true);
  const auto gradients = [&](const ImageFeatures& features) {
    (features.global.sum() + (features.local.defined() ? features.local.square().sum() : at::zeros({}))).backward();
    std::vector<Tensor> found;
    for (auto* leaf : leaves) {
      found.push_back(leaf->grad().clone());
      leaf->mutable_grad().reset();
    }
    return found;
  };
  for (const bool local : {false, true}) {
    const ImageFeatures whole = encode(given, tuning, local);
    const std::vector<Tensor> expected = gradients(whole);
    for (const VitParts& parts : {VitParts{1, 0}, {2, 5}, {2, 3}, {3, 0}, {5, 2}}) {
      const ImageFeatures found = encode_vit_in_parts(config.vision, weights, given, tuning, local, parts);
      expect_close(found.global, whole.global);
      EXPECT_EQ(found.local.defined(), local);
      if (local) expect_close(found.local, whole.local);
      const std::vector<Tensor> own = gradients(found);
      for (std::size_t i = 0; i < own.size(); ++i) expect_close(own[i], expected[i]);
    }
  }
}

TEST_F(VitTest, DropoutLeavesOutTheSameHoweverACallIsCut) {
  const Tensor given = pixels(5);
  const auto delta = [&](std::uint64_t key) {
    LowRank made{.down = normal({2, 32}, 0.0, 0.3, random).set_requires_grad(true),
                 .up = normal({32, 2}, 0.0, 0.3, random).set_requires_grad(true),
                 .dropout = 0.5};
    made.dropout_key = key;
    return made;
  };
  Tuning tuning;
  tuning.blocks.resize(3);
  tuning.blocks[0].tokens = tokens(1, 2);
  for (std::uint64_t block = 0; block < 3; ++block) {
    tuning.blocks[block].q = delta(4 * block);
    tuning.blocks[block].k = delta(4 * block + 1);
    tuning.blocks[block].v = delta(4 * block + 2);
    tuning.blocks[block].out = delta(4 * block + 3);
  }
  const auto gradients = [&](const Tensor& features) {
    features.square().sum().backward();
    std::vector<Tensor> found;
    for (Tensor* tensor : tensors_of(tuning)) {
      if (!tensor->requires_grad()) continue;
      found.push_back(tensor->grad().clone());
      tensor->mutable_grad().reset();
    }
    return found;
  };
  const Tensor whole = encode(given, tuning).global;
  const std::vector<Tensor> expected = gradients(whole);
  for (const VitParts& parts : {VitParts{1, 0}, {2, 5}, {3, 2}, {5, 0}}) {
    const Tensor found = encode_vit_in_parts(config.vision, weights, given, tuning, false, parts).global;
    expect_close(found, whole);
    const std::vector<Tensor> own = gradients(found);
    ASSERT_EQ(own.size(), expected.size());
    for (std::size_t i = 0; i < own.size(); ++i) expect_close(own[i], expected[i]);
  }
  // Each picture of a call has masks of its own.
  const Tensor twins = encode(given.narrow(0, 0, 1).expand({2, 3, 24, 24}), tuning).global;
  EXPECT_GT((twins[0] - twins[1]).abs().max().item<double>(), 1e-3);
}

TEST_F(VitTest, FrozenAndTrainableTowersAgree) {
  const auto trainable = trainable_vit_weights(config, source);
  const Tensor given = pixels();
  const Tensor expected = encode_vit(config.vision, trainable, given).global;
  expect_close(encode(given).global, expected);
  expected.square().sum().backward();
  for (const auto& [name, leaf] : parameters_of(trainable)) EXPECT_TRUE(leaf.grad().defined()) << name;
}

TEST_F(VitTest, ImpossibleInputsAreErrors) {
  EXPECT_THROW(encode(at::zeros({1, 3, 32, 32})), Error);
  EXPECT_THROW(encode(Tensor()), Error);
  Tuning tuning;
  tuning.blocks.resize(2);
  tuning.blocks[0].tokens = tokens(1, 2);
  tuning.blocks[1].tokens = tokens(1, 3);
  EXPECT_THROW(encode(pixels(), tuning), Error);
  tuning.blocks[1].tokens = tokens(3, 2);
  EXPECT_THROW(encode(pixels(), tuning), Error);
  tuning.blocks[1] = {.place = Place::kOverwriteAfterStart, .tokens = tokens(1, 2)};
  EXPECT_THROW(encode(pixels(), tuning), Error);
  tuning.blocks[1] = {.tokens = at::zeros({1, 2, 31})};
  EXPECT_THROW(encode(pixels(), tuning), Error);
}

}  // namespace
}  // namespace attune
