#include "attune/evaluation/explain.h"

#include <cmath>
#include <set>

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/data/layouts.h"
#include "attune/evaluation/study_recipe.h"
#include "attune/methods/registry.h"
#include "attune/training/trainer.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::vector<std::string> kColours = {"red", "green<b>", "blue"};

class Explaining : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  Dataset pictures() const {
    return open_dataset(draw_domains(folder_.path() / "pictures", {"art", "photo"}, kColours, 4).string());
  }

  /// An adapter of a method that was given tensors, not trained: what is explained does not depend on how it was
  /// learned.
  std::filesystem::path adapter(const std::string& method, const std::vector<std::string>& assignments,
                                const TensorMap& more = {}) const {
    const Method& found = find_method(method);
    Config config(found.schema);
    for (const std::string& one : assignments) config.set(one, "test");
    const ClassNames classes{pictures().classes};
    const std::unique_ptr<Classifier> learner = found.make(small_model(), classes, config, 1);
    TensorMap state = learner->state();
    for (const auto& [name, tensor] : more) state[name] = tensor;
    if (!more.empty()) learner->load_state(state);
    const AdapterInfo info{method, config.to_json(), "small", small_model()->weight_hash(), classes, "drawn", "", 1, {},
                           ""};
    save_adapter(folder_.path() / method, info, *learner);
    return folder_.path() / method;
  }

  Explanation explained(const std::filesystem::path& folder, const ExplainSettings& settings = {}) const {
    Dataset data = pictures();
    const std::vector<Sample> samples = data.all;
    return explain(small_model(), folder, ExplainData{data, "all", samples}, settings, {}, {1, "test", "a <command>"});
  }

  /// A word of the vocabulary, and its embedding.
  static std::pair<std::string, Tensor> some_word() {
    const WordSpace space(*small_model(), false);
    const std::string word = space.near(at::ones({1, small_model()->config.text.width}), 1)[0].cosine[0].word;
    const at::NoGradGuard no_gradients;
    return {word, small_model()->text->embed(at::tensor(small_model()->tokenizer->encode(word), at::kLong))[0]};
  }

  TemporaryFolder folder_;
};

TEST_F(Explaining, AWordsOwnEmbeddingIsNearestToIt) {
  const auto [word, embedding] = some_word();
  const WordSpace space(*small_model(), false);
  const TokenWords found = space.near((embedding * 3).unsqueeze(0), 4)[0];
  EXPECT_EQ(found.cosine[0].word, word);
  EXPECT_NEAR(found.cosine[0].value, 1, 1e-5);
  EXPECT_NEAR(found.length, 3 * embedding.norm().item<double>(), 1e-5);
  const TokenWords same = space.near(embedding.unsqueeze(0), 4)[0];
  EXPECT_EQ(same.l2[0].word, word);
  EXPECT_EQ(same.l2[0].value, 0);
  for (std::size_t k = 1; k < same.l2.size(); ++k) EXPECT_GE(same.l2[k].value, same.l2[k - 1].value);
}

TEST_F(Explaining, DistancesAreThoseOfAnExhaustiveSearch) {
  const WordSpace space(*small_model(), true);
  KeyedRandom random(1, "tokens");
  const Tensor tokens = normal({3, small_model()->config.text.width}, 0, 0.02, random);
  const Tokenizer& tokenizer = *small_model()->tokenizer;
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; id < tokenizer.size(); ++id) {
    if (id != tokenizer.start() && id != tokenizer.end()) ids.push_back(id);
  }
  const at::NoGradGuard no_gradients;
  const Tensor all = small_model()->text->embed(at::tensor(ids, at::kLong));
  const std::vector<TokenWords> found = space.near(tokens, 5);
  for (std::int64_t i = 0; i < 3; ++i) {
    const Tensor nearest = std::get<0>((all - tokens[i]).norm(2, 1).topk(5, 0, /*largest=*/false));
    const Tensor alike = std::get<0>(at::cosine_similarity(all, tokens[i].unsqueeze(0)).topk(5));
    for (std::int64_t k = 0; k < 5; ++k) {
      const auto row = static_cast<std::size_t>(i), column = static_cast<std::size_t>(k);
      EXPECT_NEAR(found[row].l2[column].value, nearest[k].item<double>(), 1e-6);
      EXPECT_NEAR(found[row].cosine[column].value, alike[k].item<double>(), 1e-5);
    }
  }
}

TEST_F(Explaining, TokensAreToldByTheirRole) {
  const Tensor tokens = at::zeros({2, 32}), weights = at::zeros({4, 32});
  for (const char* name :
       {"context", "contexts", "training_context", "text.0", "text.11", "labels.art", "positive.labels.art"}) {
    EXPECT_TRUE(holds_text_tokens(name, tokens, 32)) << name;
    EXPECT_FALSE(holds_text_tokens(name, tokens, 64)) << name;
  }
  for (const char* name : {"meta_net.linear1.weight", "vision.0", "text.3.q.down", "text.", "generator.0.weight"}) {
    EXPECT_FALSE(holds_text_tokens(name, weights, 32)) << name;
  }
}

TEST_F(Explaining, AContextOfEachClassIsNamedByIt) {
  const Explanation found = explain(small_model(), adapter("coop", {"context.length=2", "context.class_specific=true"}),
                                    std::nullopt, {}, {}, {});
  ASSERT_EQ(found.tokens.size(), 6u);
  EXPECT_EQ(found.tokens[3].part, pictures().classes[1]);
  EXPECT_EQ(found.tokens[3].token, 1);
  EXPECT_FALSE(found.removal);
}

TEST_F(Explaining, AContextOfWordsIsReadBack) {
  const auto [word, embedding] = some_word();
  const Explanation found = explain(small_model(), adapter("coop", {"context.init=" + word}), std::nullopt, {}, {}, {});
  EXPECT_EQ(found.tokens[0].l2[0].word, word);
}

TEST_F(Explaining, ATokenLeftOutIsAContextWithoutIt) {
  KeyedRandom random(5, "context");
  const Tensor context = normal({3, small_model()->config.text.width}, 0, 0.5, random);
  const Explanation found = explained(adapter("coop", {"context.length=3"}, {{"context", context}}));
  ASSERT_TRUE(found.removal);
  ASSERT_EQ(found.removal->removed.size(), 3u);
  EXPECT_EQ(found.removal->pictures, 24);
  Dataset data = pictures();
  Inputs inputs(small_model(), data, data.all, {});
  const auto accuracy_of = [&](const Tensor& tokens) {
    const auto learner =
        make_small(find_method("coop"), {"context.length=" + std::to_string(tokens.size(0))}, {data.classes});
    learner->load_state({{"context", tokens}});
    return accuracy(*learner, inputs);
  };
  EXPECT_EQ(found.removal->whole, accuracy_of(context));
  EXPECT_EQ(found.removal->removed[1].how, "left out");
  EXPECT_EQ(found.removal->removed[1].acc1, accuracy_of(at::stack({context[0], context[2]})));
}

TEST_F(Explaining, TokensOfAFixedNumberAreReplaced) {
  const Explanation found = explained(adapter("deep_text", {"text.tokens=1", "text.depth=2"}));
  ASSERT_EQ(found.removal->removed.size(), 2u);
  EXPECT_EQ(found.removal->removed[0].how, "mean embedding");
  EXPECT_EQ(found.removal->removed[1].how, "zeros");
}

TEST_F(Explaining, SpgsPromptsSpreadOverDrawsAndItsLabelsAreWarnedOf) {
  const std::int64_t width = small_model()->config.text.width;
  Tensor large = at::zeros({1, width});
  large[0][3] = -1.25;
  const Explanation found = explained(
      adapter("spg", {"context.init=a", "optim.warmup=none"}, {{"labels.art", large}, {"labels.photo", large * 0.5}}));
  ASSERT_TRUE(found.generated);
  const GeneratedPrompts& prompts = *found.generated;
  EXPECT_EQ(prompts.pictures, 24);
  EXPECT_EQ(prompts.between_draws.pairs, 24 * 8 * 7 / 2);
  EXPECT_GT(prompts.between_draws.mean, 0);
  EXPECT_EQ(prompts.within_domains.pairs + prompts.between_domains.pairs, 24 * 23 / 2);
  EXPECT_EQ(prompts.between_domains.pairs, 12 * 12);
  ASSERT_EQ(prompts.labels.size(), 2u);
  EXPECT_NEAR(prompts.labels[0].largest_entry, 1.25, 1e-6);
  EXPECT_FALSE(prompts.labels[0].within_tanh);
  EXPECT_TRUE(prompts.labels[1].within_tanh);
  EXPECT_THAT(explain_page(found), HasSubstr("outside (−1, 1)"));
  ASSERT_TRUE(found.removal);
  EXPECT_TRUE(found.removal->removed.empty());
}

TEST_F(Explaining, AGeneratorWithoutNoiseHasEqualDraws) {
  const Explanation found = explained(adapter("cocoop", {"context.init=a"}), {.removal = false});
  ASSERT_TRUE(found.generated);
  EXPECT_FALSE(found.generated->draws_differ);
  EXPECT_TRUE(std::isnan(found.generated->between_draws.mean));
  EXPECT_TRUE(to_json(found)["generated"]["distance_between_draws"]["mean"].is_null());
}

TEST_F(Explaining, TransportsOfEveryClassAndItsDescriptions) {
  write_json(folder_.path() / "descriptions.json",
             {{"red", {"a red thing.", "warm <noise>."}}, {"blue", {"a blue thing."}}});
  const Explanation found = explained(
      adapter("dual_pt",
              {"prompts=2", "context.length=2", "descriptions=" + (folder_.path() / "descriptions.json").string()}),
      {.removal = false});
  ASSERT_TRUE(found.transports);
  ASSERT_EQ(found.transports->pictures.size(), 3u);
  for (const PictureTransport& one : found.transports->pictures) {
    ASSERT_EQ(one.prompts.size(), 2u);
    ASSERT_EQ(one.prompts[0].size(), static_cast<std::size_t>(one.side * one.side));
    double mass = 0;
    for (const double share : one.prompts[0]) mass += share;
    EXPECT_NEAR(mass, 1, 1e-5);
  }
  ASSERT_EQ(found.transports->sentences.size(), 3u);
  std::set<std::size_t> counts;
  for (const SentenceTransport& one : found.transports->sentences) {
    counts.insert(one.sentences.size());
    double mass = 0;
    for (const std::vector<double>& prompt : one.plan) {
      for (const double share : prompt) mass += share;
    }
    EXPECT_NEAR(mass, 1, 1e-5);
  }
  EXPECT_THAT(counts, ElementsAre(1u, 2u));
  const std::string page = explain_page(found);
  EXPECT_THAT(page, HasSubstr("warm &lt;noise&gt;."));
  EXPECT_THAT(page, Not(HasSubstr("green<b>")));
  EXPECT_THAT(page, HasSubstr("a &lt;command&gt;"));
  EXPECT_THAT(page, HasSubstr("data:image/png;base64,"));
}

TEST_F(Explaining, DescriptionsThatAreGoneAreSaidToBe) {
  const Explanation found =
      explained(adapter("dual_pt", {"prompts=2", "context.length=2", "descriptions=gone.json"}), {.removal = false});
  EXPECT_TRUE(found.transports->sentences.empty());
  EXPECT_THAT(explain_page(found), HasSubstr("gone.json"));
}

TEST_F(Explaining, APromptLeftOutOfASetIsMeasured) {
  const Explanation found = explained(adapter("plot", {"prompts=2", "context.length=2"}));
  ASSERT_EQ(found.removal->removed.size(), 4u);
  EXPECT_EQ(found.removal->removed[3].how, "prompt left out");
}

TEST(PrincipalPlane, KeepsDistancesOfPointsInAPlane) {
  KeyedRandom random(2, "plane");
  const Tensor points = normal({12, 2}, 0, 1, random), axes = std::get<0>(at::linalg_qr(normal({9, 2}, 0, 1, random)));
  const Tensor rows = at::matmul(points, axes.t()) + 5, others = rows.narrow(0, 3, 2);
  const Plane plane = principal_plane(rows, others);
  EXPECT_NEAR(plane.share, 1, 1e-6);
  EXPECT_TRUE(at::allclose(at::cdist(plane.rows, plane.rows), at::cdist(points, points).to(at::kDouble), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(plane.others, plane.rows.narrow(0, 3, 2)));
  EXPECT_GE(plane.rows.select(1, 0).var().item<double>(), plane.rows.select(1, 1).var().item<double>());
}

TEST(PrincipalPlane, EqualRowsLieInOnePoint) {
  const Plane plane = principal_plane(at::ones({4, 6}), at::zeros({0, 6}));
  EXPECT_EQ(plane.share, 0);
  EXPECT_EQ(plane.rows.abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace attune
