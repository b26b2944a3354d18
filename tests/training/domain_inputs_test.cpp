#include <gmock/gmock.h>

#include "attune/domains/domain_features.h"
#include "attune/training/inputs.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/error_of.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::filesystem::path kModel = std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/domains/data/vit_mae";
const std::vector<std::int64_t> kSamples = {0, 1, 2, 3, 4, 5}, kViews = {0, 2, 1, 0, 1, 2};

/// Six pictures of which a method wants nothing but domain features.
class DomainInputs : public testing::Test {
 protected:
  DomainInputs() {
    dataset_.classes = {"dog", "owl"};
    dataset_.root = draw_domains(folder_.path(), {"all"}, dataset_.classes, 3);
    for (std::size_t c = 0; c < 2; ++c) {
      for (int i = 0; i < 3; ++i) {
        Sample sample;
        sample.path = "all/" + dataset_.classes[c] + "/" + std::to_string(i) + ".png";
        dataset_.train.push_back(sample);
      }
    }
  }

  Inputs inputs() const {
    InputOptions options;
    options.cache = folder_.path() / "cache";
    return {small_model(), dataset_, dataset_.train, options};
  }
  static Tensor features(Inputs& inputs, const std::shared_ptr<const DomainModel>& domain) {
    return inputs.batch(kSamples, kViews, {.features = false, .domain = domain}).domain_features;
  }
  /// Saves features of the pictures, the rows in the opposite order.
  std::filesystem::path saved(const Tensor& rows, const std::map<std::string, std::string>& metadata) const {
    save_tensors(folder_.path() / "f.safetensors", {{"features", rows.flip(0)}}, metadata);
    return folder_.path() / "f.safetensors";
  }

  TemporaryFolder folder_;
  Dataset dataset_;
};

TEST_F(DomainInputs, FeaturesOfFixedViewsAreComputedOnceAndKeptOnDisk) {
  const auto domain = load_domain_model(kModel);
  Inputs first = inputs();
  const Tensor found = features(first, domain);
  EXPECT_EQ(first.computed(), 18) << "three views of six pictures";
  EXPECT_TRUE(features(first, domain).equal(found));
  EXPECT_EQ(first.computed(), 18);
  Inputs second = inputs();
  EXPECT_TRUE(features(second, domain).equal(found));
  EXPECT_EQ(second.computed(), 0);
  DomainOptions tapped;
  tapped.tap = DomainTap::kDecoder;
  EXPECT_EQ(features(second, load_domain_model(kModel, tapped)).size(1), 16);
  EXPECT_EQ(second.computed(), 18) << "another tap is another feature";
}

TEST_F(DomainInputs, AFileHasOneRowAPictureForEveryView) {
  Inputs all = inputs();
  const Tensor centre = all.domain_features(load_domain_model(kModel), 0);
  std::vector<std::string> paths;
  std::vector<ContentId> contents;
  for (std::size_t i = 6; i-- > 0;) {
    paths.push_back(dataset_.train[i].path.generic_string());
    contents.push_back(all.contents()[i]);
  }
  for (const bool by_content : {true, false}) {
    const auto metadata = by_content ? domain_features_metadata({"", "1", "2", "3", "4", "5"}, contents, "key")
                                     : std::map<std::string, std::string>{{"paths", Json(paths).dump()}};
    const auto file = open_domain_model(saved(centre, metadata));
    Inputs one = inputs();
    EXPECT_TRUE(features(one, file).equal(centre)) << by_content;
    EXPECT_EQ(one.computed(), 0);
    EXPECT_TRUE(one.domain_features(file, 7).equal(centre));
  }
}

TEST_F(DomainInputs, APictureThatAFileDoesNotHoldIsNamed) {
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < 5; ++i) paths.push_back(dataset_.train[i].path.generic_string());
  const auto file = open_domain_model(saved(at::ones({5, 3}), {{"paths", Json(paths).dump()}}));
  Inputs all = inputs();
  EXPECT_THAT(error_of([&] { features(all, file); }), AllOf(HasSubstr("f.safetensors"), HasSubstr("owl/2.png")));
}

}  // namespace
}  // namespace attune
