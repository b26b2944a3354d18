#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "attune/base/error.h"
#include "attune/clip/text_parts.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/weights.h"
#include "tests/support/close.h"

namespace attune {
namespace {

using testing_support::expect_close;

ClipConfig small_config(Activation activation = Activation::kQuickGelu) {
  ClipConfig config;
  config.joint_width = 24;
  config.text = {.width = 32, .layers = 3, .heads = 4, .hidden = 64, .vocabulary = 50, .context_length = 16};
  config.text.activation = activation;
  return config;
}

/// Random weights whose biases and norms are not trivial.
NamedTensors source_for(const ClipConfig& config) {
  NamedTensors source{random_text_tensors(config, 3), "random"};
  KeyedRandom random(4, "test.text");
  for (auto& [name, tensor] : source.tensors) tensor = tensor + normal(tensor.sizes(), 0.0, 0.05, random);
  return source;
}

struct TextTowerTest : testing::Test {
  ClipConfig config = small_config();
  TextWeights<FrozenLinear> weights = frozen_text_weights(config, source_for(config));
  KeyedRandom random{5, "test.prompts"};
  Tensor end = at::tensor({2, 0, 4, 2, 1}, at::kLong);

  Prompts prompts(std::int64_t contexts, std::int64_t suffixes = 1) {
    return {normal({contexts, 4, 32}, 0.0, 0.5, random), normal({suffixes, 5, 6, 32}, 0.0, 0.5, random), end};
  }
  Tensor encode(const Prompts& prompts, const Tuning& tuning = {}) {
    return encode_text(config.text, weights, prompts, tuning);
  }
};

TEST_F(TextTowerTest, SplitEqualsTheUnsplitSequence) {
  const Prompts split = prompts(1);
  const Tensor whole = encode(split);
  for (std::int64_t c = 0; c < 5; ++c) {
    const Tensor sequence = at::cat({split.prefix, split.suffix.select(1, c)}, 1);
    const Prompts unsplit{sequence.narrow(1, 0, 1), sequence.narrow(1, 1, 9).unsqueeze(1),
                          split.end.narrow(0, c, 1) + 3};
    expect_close(encode(unsplit).select(1, 0), whole.select(1, c));
  }
}

TEST_F(TextTowerTest, SeveralPrefixesEqualSeparateCalls) {
  for (const std::int64_t suffixes : {1, 3}) {
    const Prompts together = prompts(3, suffixes);
    const Tensor features = encode(together);
    ASSERT_EQ(features.sizes(), (at::IntArrayRef{3, 5, 24}));
    for (std::int64_t p = 0; p < 3; ++p) {
      const Prompts alone{together.prefix.narrow(0, p, 1), together.suffix.narrow(0, suffixes == 1 ? 0 : p, 1), end};
      expect_close(features.narrow(0, p, 1), encode(alone));
    }
  }
}

TEST_F(TextTowerTest, PaddingDoesNotMatter) {
  const Prompts plain = prompts(2);
  Prompts padded = plain;
  padded.suffix = at::cat({plain.suffix, at::full({1, 5, 9, 32}, 1e3)}, 2);
  for (std::int64_t c = 0; c < 5; ++c) {
    padded.suffix.select(1, c).narrow(1, end[c].item<std::int64_t>() + 1, 14 - end[c].item<std::int64_t>()).fill_(7.0);
  }
  EXPECT_TRUE(at::equal(encode(padded), encode(plain)));
}

TEST_F(TextTowerTest, ChunkedWithoutGradientsEqualsWhole) {
  const std::int64_t classes = 3000;
  const Prompts many{normal({2, 4, 32}, 0.0, 0.5, random), normal({1, classes, 6, 32}, 0.0, 0.5, random),
                     at::arange(classes, at::kLong).remainder(6)};
  const Tensor whole = encode(many);
  const at::NoGradGuard frozen;
  expect_close(encode(many), whole);
}

TEST(TextParts, CoverEveryContextAndClassOnce) {
  const std::vector<std::int64_t> lengths{3, 1, 5, 3, 2, 7, 1};
  for (const std::int64_t contexts : {1, 2, 5}) {
    for (const std::int64_t wanted : {1, 2, 4, 9, 100}) {
      for (const std::int64_t most_rows : {6, 20, 1000}) {
        const Tensor seen = at::zeros({contexts, 7}, at::kLong);
        std::int64_t rows = 0;
        const auto parts = divide_text(contexts, 4, lengths, wanted, most_rows);
        for (const TextPart& part : parts) {
          seen.narrow(0, part.context, part.contexts).narrow(1, part.first, part.classes).add_(1);
          rows += part.rows - 4 * part.contexts;
          EXPECT_GT(part.classes, 0);
          EXPECT_GT(part.contexts, 0);
        }
        EXPECT_TRUE(seen.eq(1).all().item<bool>());
        EXPECT_EQ(rows, contexts * 22);
        EXPECT_GE(std::ssize(parts), std::min<std::int64_t>(wanted, contexts));
      }
    }
  }
}

TEST_F(TextTowerTest, PartsGiveTheGradientsOfTheWhole) {
  Prompts given = prompts(2);
  Tuning tuning;
  tuning.blocks.resize(3);
  tuning.blocks[1] = {.place = Place::kOverwriteAfterStart, .tokens = normal({1, 2, 32}, 0.0, 0.5, random)};
  tuning.blocks[2].v = {.down = normal({2, 32}, 0.0, 0.3, random), .up = normal({32, 2}, 0.0, 0.3, random)};
  const std::vector<Tensor*> leaves = {&given.prefix, &given.suffix, &tuning.blocks[1].tokens, &tuning.blocks[2].v.down,
                                       &tuning.blocks[2].v.up};
  for (auto* leaf : leaves) leaf->set_requires_grad(true);
  const Tensor whole = encode(given, tuning);
  const Tensor projection = normal(whole.sizes(), 0.0, 1.0, random);
  (whole * projection).sum().backward();
  std::vector<Tensor> expected;
  for (auto* leaf : leaves) {
    expected.push_back(leaf->grad().clone());
    leaf->mutable_grad().reset();
  }
  const std::vector<std::int64_t> lengths{3, 1, 5, 3, 2};
  for (const auto& [wanted, kept_rows] : {std::pair{1, 0}, {2, 1000}, {3, 20}, {8, 30}, {99, 0}}) {
    const auto divided = divide_text(2, given.prefix.size(1), lengths, wanted, 1000);
    EXPECT_GE(std::ssize(divided), std::min<std::int64_t>(wanted, 2));
    const Tensor parts = encode_text_in_parts(config.text, weights, given, tuning, divided, kept_rows);
    expect_close(parts, whole);
    (parts * projection).sum().backward();
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      expect_close(leaves[i]->grad(), expected[i]);
      leaves[i]->mutable_grad().reset();
    }
  }
}

TEST_F(TextTowerTest, TunedTokensOverwriteAfterTheStart) {
  Prompts given = prompts(1);
  const Tensor tokens = normal({1, 2, 32}, 0.0, 0.5, random);
  Tuning tuning;
  tuning.blocks.resize(1);
  tuning.blocks[0] = {.place = Place::kOverwriteAfterStart, .tokens = tokens};
  Prompts expected = given;
  expected.prefix = given.prefix.clone();
  expected.prefix.narrow(1, 1, 2).copy_(tokens - weights.positions.narrow(0, 1, 2));
  expect_close(encode(given, tuning), encode(expected));
}

TEST_F(TextTowerTest, TunedTokensOfEachContextEqualSeparateCalls) {
  const Prompts shared = prompts(1);
  Tuning tuning;
  tuning.blocks.resize(3);
  tuning.blocks[1] = {.place = Place::kOverwriteAfterStart, .tokens = normal({2, 3, 32}, 0.0, 0.5, random)};
  const Tensor features = encode(shared, tuning);
  ASSERT_EQ(features.size(0), 2);
  for (std::int64_t p = 0; p < 2; ++p) {
    Tuning alone = tuning;
    alone.blocks[1].tokens = tuning.blocks[1].tokens.narrow(0, p, 1);
    expect_close(features.narrow(0, p, 1), encode(shared, alone));
  }
  EXPECT_GT((features[0] - features[1]).abs().max().item<double>(), 1e-3);
}

TEST_F(TextTowerTest, ZeroUpMatricesChangeNothing) {
  const Prompts given = prompts(2);
  const LowRank zero{.down = normal({2, 32}, 0.0, 1.0, random), .up = at::zeros({32, 2}), .dropout = 0.25};
  LowRank fused = zero;
  fused.up = at::zeros({96, 2});
  const Tuning tuning{{{.q = zero, .k = zero, .v = zero, .out = zero, .qkv = fused}}};
  expect_close(encode(given, tuning), encode(given), 1e-6);
}

TEST_F(TextTowerTest, LowRankDeltaEqualsMergedWeights) {
  const auto delta = [&](std::int64_t out) {
    return LowRank{.down = normal({2, 32}, 0.0, 0.3, random),
                   .up = normal({out, 2}, 0.0, 0.3, random),
                   .singular = normal({2}, 0.0, 1.0, random),
                   .scale = 0.5};
  };
  const auto product = [](const LowRank& d) { return at::matmul(d.up * d.singular, d.down) * d.scale; };
  Tuning tuning;
  tuning.blocks.resize(2);
  tuning.blocks[1] = {.q = delta(32), .v = delta(32), .out = delta(32), .qkv = delta(96)};
  NamedTensors merged = source_for(config);
  const std::string layer = "text_model.encoder.layers.1.self_attn.";
  const auto& own = tuning.blocks[1];
  merged.tensors[layer + "qkv_proj.weight"] +=
      product(own.qkv) + at::cat({product(own.q), at::zeros({32, 32}), product(own.v)});
  merged.tensors[layer + "out_proj.weight"] += product(own.out);
  const Prompts given = prompts(1);
  expect_close(encode(given, tuning), encode_text(config.text, frozen_text_weights(config, merged), given));
}

TEST_F(TextTowerTest, DropoutMaskDependsOnItsKeyOnly) {
  const Prompts given = prompts(1);
  const auto with_key = [&](std::uint64_t key) {
    KeyedRandom own(1, "delta");
    LowRank delta{.down = normal({2, 32}, 0.0, 0.3, own), .up = normal({32, 2}, 0.0, 0.3, own), .dropout = 0.5};
    delta.dropout_key = key;
    return encode(given, Tuning{{{.v = delta}}});
  };
  EXPECT_TRUE(at::equal(with_key(1), with_key(1)));
  EXPECT_FALSE(at::equal(with_key(1), with_key(2)));
}

TEST_F(TextTowerTest, DropoutLeavesOutTheSameHoweverACallIsCut) {
  const Prompts given = prompts(3);
  Tuning tuning;
  tuning.blocks.resize(3);
  std::vector<Tensor> leaves;
  for (auto& block : tuning.blocks) {
    for (LowRank* delta : {&block.q, &block.k, &block.v, &block.out}) {
      *delta = {.down = normal({2, 32}, 0.0, 0.3, random), .up = normal({32, 2}, 0.0, 0.3, random), .dropout = 0.5};
      delta->dropout_key = leaves.size();
      for (Tensor* leaf : {&delta->down, &delta->up}) leaves.push_back(leaf->requires_grad_(true));
    }
  }
  const Tensor whole = encode_text_at_once(config.text, weights, given, tuning);
  const auto gradients = [&](const Tensor& features) {
    return torch::autograd::grad({features.square().sum()}, leaves);
  };
  const auto expected = gradients(whole);
  const std::vector<std::int64_t> lengths{3, 1, 5, 3, 2};
  for (const auto& [wanted, kept_rows] : {std::pair{1, 0}, {2, 1000}, {3, 20}, {8, 30}, {99, 0}}) {
    const auto divided = divide_text(3, given.prefix.size(1), lengths, wanted, 1000);
    const Tensor parts = encode_text_in_parts(config.text, weights, given, tuning, divided, kept_rows);
    expect_close(parts, whole);
    const auto own = gradients(parts);
    for (std::size_t i = 0; i < own.size(); ++i) expect_close(own[i], expected[i]);
  }
  Tuning without = tuning;
  for (auto& block : without.blocks) block.q.dropout = block.k.dropout = block.v.dropout = block.out.dropout = 0;
  EXPECT_GT((encode(given, without) - whole).abs().max().item<double>(), 1e-3);
}

TEST_F(TextTowerTest, FrozenAndTrainableTowersAgree) {
  for (const auto activation : {Activation::kGelu, Activation::kQuickGelu}) {
    config = small_config(activation);
    const auto source = source_for(config);
    const auto trainable = trainable_text_weights(config, source);
    const Prompts given = prompts(2);
    const Tensor expected = encode_text(config.text, trainable, given);
    EXPECT_TRUE(expected.requires_grad());
    expect_close(encode_text(config.text, frozen_text_weights(config, source), given), expected);
    expected.sum().backward();
    for (const auto& [name, leaf] : parameters_of(trainable)) {
      EXPECT_EQ(leaf.grad().defined(), name != "text_model.embeddings.token_embedding.weight") << name;
    }
  }
}

template <class F>
std::string error_of(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(TextTowerTest, ErrorsNameTheNumbers) {
  Prompts given = prompts(1);
  given.prefix = at::zeros({1, 13, 32});
  EXPECT_EQ(error_of([&] { encode(given); }),
            "text tower: a prefix of 13 and a suffix of 5 tokens exceed the context length of 16");
  given = prompts(1);
  given.end = at::tensor({2, 0, 6, 2, 1}, at::kLong);
  EXPECT_EQ(error_of([&] { encode(given); }),
            "text tower: expected the end of class 2 within its suffix of 6 tokens, found 6");
  given = prompts(2, 3);
  EXPECT_EQ(error_of([&] { encode(given); }), "text tower: expected 1 or 3 prefixes, found 2");
  given = prompts(1);
  Tuning tuning{{{.place = Place::kOverwriteAfterStart, .tokens = at::zeros({1, 4, 32})}}};
  EXPECT_NE(error_of([&] { encode(given, tuning); }).find("overwrites 4 positions"), std::string::npos);
  tuning.blocks[0].place = Place::kAtEnd;
  EXPECT_NE(error_of([&] { encode(given, tuning); }).find("no other place"), std::string::npos);
  tuning.blocks.resize(4);
  EXPECT_NE(error_of([&] { encode(given, tuning); }).find("at most 3 blocks, found 4"), std::string::npos);
  EXPECT_NE(error_of([&] { embed_tokens(weights.tokens, at::tensor({50}, at::kLong)); }).find("0..49"),
            std::string::npos);
}

}  // namespace
}  // namespace attune
