#include "attune/tasks/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/files.h"
#include "tests/support/close.h"
#include "tests/support/error_of.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::expect_close;

const fs::path kModels = fs::path(ATTUNE_SOURCE_DIR) / "tests" / "diffusion" / "data";
const fs::path kPixels = kModels / "v2";

Tensor drawn(at::IntArrayRef shape, std::uint64_t index) {
  KeyedRandom random(3, "generation test", index);
  return normal(shape, 0, 1, random);
}

/// Writes an adapter as a learner of the given state would.
class Written final : public Learner {
 public:
  explicit Written(TensorMap state) : state_(std::move(state)) {}
  Stages stages(const TrainingData&) override { return {}; }
  TensorMap state() const override { return state_; }
  void load_state(const TensorMap&) override {}

 private:
  TensorMap state_;
};

class Generating : public testing::Test {
 protected:
  fs::path adapter(const std::string& method, const TensorMap& state, const std::string& task = "generation") const {
    const fs::path path = folder_.path() / method;
    AdapterInfo info;
    info.method = method;
    info.config = {{"task", task}};
    info.base_model = "v2";
    info.weight_hash = hash_;
    info.classes = {{"cat"}, "a drawing of a {}"};
    save_adapter(path, info, Written(state));
    return path;
  }
  GenerateSettings settings(std::int64_t steps = 4) const {
    GenerateSettings result;
    result.sampler = load_diffusion_model(kPixels).sampler();
    result.steps = steps;
    result.side = 8;
    return result;
  }
  static Request asked(const fs::path& adapter, double scale) {
    Request request;
    request.adapter = adapter;
    request.scale = scale;
    return request;
  }

  TemporaryFolder folder_;
  std::string hash_ = load_diffusion_model(kPixels).weight_hash();
};

TEST_F(Generating, RowsThatWereFoundStandForAText) {
  const Tensor rows = drawn({3, 10}, 1);
  const Generation made = prepare_generation(kPixels, asked(adapter("cones", {{"embeddings", rows}}), 3.0));
  EXPECT_TRUE(made.steering.hidden.equal(rows.unsqueeze(0)));
  EXPECT_EQ(made.model.encoder, nullptr);
  EXPECT_EQ(made.settings["method"], "cones");
  const TextEncoder encoder = TextEncoder::load(kPixels);
  EXPECT_TRUE(made.steering.empty.equal(encoder.encode(std::vector<std::string>{""})));

  const Request alone = asked(folder_.path() / "cones", 1.0);
  EXPECT_FALSE(prepare_generation(kPixels, alone).steering.empty.defined());
}

TEST_F(Generating, ALearnedWordStandsInASentence) {
  const TextEncoder encoder = TextEncoder::load(kPixels);
  // The word's own embedding: what was learned is that nothing was to be learned.
  const auto ids = encoder.tokenizer().encode("cat");
  const Tensor token = encoder.embed(at::tensor(ids, at::kLong));
  Request request = asked(adapter("textual_inversion", {{"token", token}}), 1.0);
  const Generation own = prepare_generation(kPixels, request);
  expect_close(own.steering.hidden, encoder.encode(std::vector<std::string>{"a drawing of a cat"}), 1e-5,
               "own sentence");
  request.prompt = "a {} in the rain";
  const Generation other = prepare_generation(kPixels, request);
  expect_close(other.steering.hidden, encoder.encode(std::vector<std::string>{"a cat in the rain"}), 1e-5, "prompt");
  request.prompt = "a cat";
  EXPECT_THAT(error_of([&] { prepare_generation(kPixels, request); }), HasSubstr("{}"));
}

TEST_F(Generating, ANetworkThatWasTunedTakesTheFoldersPlace) {
  DiffusionOptions options;
  options.train_unet = true;
  const DiffusionModel model = load_diffusion_model(kPixels, options);
  TensorMap state{{"embeddings", drawn({3, 10}, 1)}};
  for (const auto& [name, leaf] : model.trainable_unet->parameters()) state["unet." + name] = leaf.detach() * 1.1;
  const Generation made = prepare_generation(kPixels, asked(adapter("dreambooth", state), 1.0));
  const Tensor maps = drawn({1, 3, 8, 8}, 2), steps = at::tensor({500}, at::kLong), rows = made.steering.hidden;
  TensorMap changed;
  for (const auto& [name, leaf] : model.trainable_unet->parameters()) changed[name] = leaf.detach() * 1.1;
  const auto expected = make_frozen_unet(model.unet, {unet_file_tensors(model.unet, changed), "changed"});
  expect_close(made.model.network().predict(maps, steps, rows), expected->predict(maps, steps, rows), 1e-5, "tuned");
  EXPECT_GT((made.model.network().predict(maps, steps, rows) - model.network().predict(maps, steps, rows))
                .abs()
                .max()
                .item<double>(),
            1e-3);
}

TEST_F(Generating, WithoutGuidanceTheConditionAloneSpeaks) {
  const Generation made =
      prepare_generation(kPixels, asked(adapter("cones", {{"embeddings", drawn({3, 10}, 1)}}), 3.0));
  const UNet& network = made.model.network();
  Steering plain = made.steering, guided = made.steering;
  plain.scale = 1.0;
  plain.empty = Tensor();
  // Guided by the limit of the formula at 1, where both halves are asked.
  guided.scale = 1.0 + 1e-9;
  const Tensor alone = generate_maps(network, plain, settings(), 0, 2);
  expect_close(generate_maps(network, guided, settings(), 0, 2), alone, 1e-4, "scale 1");
  EXPECT_GT((generate_maps(network, made.steering, settings(), 0, 2) - alone).abs().max().item<double>(), 1e-3);
  // A whole way by hand.
  const auto sampler = make_sampler(settings().sampler, 4);
  KeyedRandom random(1, "generate", 0);
  Tensor maps = normal({1, 3, 8, 8}, 0, 1, random);
  const at::NoGradGuard without_gradients;
  for (const auto time : sampler->times()) {
    maps = sampler->next(network.predict(maps, at::tensor({time}, at::kLong), plain.hidden), maps, {});
  }
  expect_close(alone.narrow(0, 0, 1), maps, 1e-4, "by hand");
}

TEST_F(Generating, ASeedGivesTheSameBitsAndAnotherOneOthers) {
  const Generation made =
      prepare_generation(kPixels, asked(adapter("cones", {{"embeddings", drawn({3, 10}, 1)}}), 3.0));
  const UNet& network = made.model.network();
  for (const SamplerKind kind : {SamplerKind::kDdim, SamplerKind::kDdpm, SamplerKind::kPndm}) {
    GenerateSettings one = settings();
    one.sampler = made.model.sampler(kind);
    const Tensor maps = generate_maps(network, made.steering, one, 0, 3);
    EXPECT_TRUE(generate_maps(network, made.steering, one, 0, 3).equal(maps)) << name_of(kind);
    // A picture depends on its number, not on the pictures beside it.
    expect_close(generate_maps(network, made.steering, one, 2, 1), maps.narrow(0, 2, 1), 1e-3, "third picture");
    EXPECT_FALSE(maps[0].equal(maps[1]));
    one.seed = 2;
    EXPECT_GT((generate_maps(network, made.steering, one, 0, 3) - maps).abs().max().item<double>(), 1e-2);
  }
}

TEST_F(Generating, WhatDoesNotGoTogetherIsRefused) {
  const fs::path cones = adapter("cones", {{"embeddings", drawn({3, 10}, 1)}});
  const auto refusal = [&](const Request& request, const fs::path& model = kPixels) {
    return error_of([&] { prepare_generation(model, request); });
  };
  EXPECT_THAT(refusal({}), HasSubstr("--adapter or --prompt"));
  Request both = asked(cones, 3.0);
  both.prompt = "a cat";
  EXPECT_THAT(refusal(both), HasSubstr("--prompt has no place"));
  Request useless = asked(cones, 1.0);
  useless.negative = "blurred";
  EXPECT_THAT(refusal(useless), HasSubstr("--negative"));
  EXPECT_THAT(refusal(asked(adapter("narrow", {{"embeddings", drawn({3, 9}, 1)}}), 1.0)), HasSubstr("[3, 9]"));
  EXPECT_THAT(refusal(asked(adapter("nothing", {{"other", drawn({3, 10}, 1)}}), 1.0)), HasSubstr("found neither"));
  EXPECT_THAT(refusal(asked(adapter("detector", {{"embeddings", drawn({3, 10}, 1)}}, "detection"), 1.0)),
              HasSubstr("detection"));
  EXPECT_THAT(refusal(asked(cones, 1.0), kModels / "v1"), HasSubstr(hash_));

  const fs::path mute = folder_.path() / "mute";
  fs::copy(kPixels, mute, fs::copy_options::recursive);
  fs::remove_all(mute / "text_encoder");
  EXPECT_THAT(refusal(asked(cones, 2.0), mute), HasSubstr("--prompt-scale 1"));
  EXPECT_EQ(refusal(asked(cones, 1.0), mute), "");
}

TEST(Colours, PixelsAreRoundedAndCutOff) {
  const Tensor pixels = at::tensor({-2.0F, -1.0F, 0.0F, 0.5F, 1.0F, 7.0F}).view({1, 1, 6}).expand({3, 1, 6});
  const Image image = colours_of(pixels);
  ASSERT_EQ(image.width, 6);
  std::vector<int> found;
  for (std::size_t i = 0; i < 6; ++i) found.push_back(image.rgb[3 * i]);
  EXPECT_EQ(found, (std::vector<int>{0, 0, 128, 191, 255, 255}));
  EXPECT_THAT(error_of([] { colours_of(at::zeros({1, 4, 4})); }), HasSubstr("[1, 4, 4]"));
}

}  // namespace
}  // namespace attune
