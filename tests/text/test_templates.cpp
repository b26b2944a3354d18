#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::set<std::string> distinct(std::string_view ensemble) {
  const std::vector<std::string> all = template_ensemble(ensemble);
  return {all.begin(), all.end()};
}

TEST(Templates, EnsemblesHaveTheirPublishedNumbersOfDistinctTemplates) {
  EXPECT_EQ(template_ensemble("single").size(), 1u);
  EXPECT_EQ(template_ensemble("best7").size(), 7u);
  EXPECT_EQ(template_ensemble("all80").size(), 80u);
  EXPECT_EQ(template_ensemble("promptsrc60").size(), 60u);
  EXPECT_EQ(distinct("best7").size(), 7u);
  EXPECT_EQ(distinct("all80").size(), 80u);
}

TEST(Templates, TheBestSevenAreAmongTheEighty) {
  for (const std::string& t : template_ensemble("best7")) EXPECT_THAT(template_ensemble("all80"), Contains(t));
}

TEST(Templates, EnsemblesHoldTheListedPatterns) {
  const auto all = template_ensemble("all80");
  for (const char* t : {"a photo of the hard to see {}.", "the plastic {}.", "a {} in a video game.", "itap of my {}.",
                        "a jpeg corrupted photo of a {}.", "a photo of many {}."}) {
    EXPECT_THAT(all, Contains(t));
  }
  EXPECT_THAT(template_ensemble("promptsrc60"), Not(Contains("itap of a {}.")));
  EXPECT_THAT(template_ensemble("promptsrc60"), Contains("itap of the {}."));
  EXPECT_THROW(template_ensemble("all81"), UsageError);
}

TEST(Templates, DatasetsAreFoundByAnySpelling) {
  EXPECT_EQ(dataset_template("OxfordPets"), "a photo of a {}, a type of pet.");
  EXPECT_EQ(dataset_template("oxford_pets"), "a photo of a {}, a type of pet.");
  EXPECT_EQ(dataset_template("imagenet-sketch"), "a photo of a {}.");
  EXPECT_EQ(dataset_template("dtd"), "{} texture.");
  EXPECT_EQ(dataset_template("WHURS19"), "a photo of {}.");
  EXPECT_EQ(dataset_template("rock-image-x"), "a photo of {}.");
  EXPECT_EQ(dataset_template(""), "a photo of a {}.");
  try {
    dataset_template("cifar");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("EuroSAT"));
    EXPECT_THAT(error.what(), HasSubstr("cifar"));
  }
}

TEST(Templates, TheDatasetsOwnTemplateJoinsTheEnsembleExceptForImageNet) {
  EXPECT_EQ(zero_shot_templates("all80", "ImageNet").size(), 80u);
  EXPECT_EQ(zero_shot_templates("all80", "imagenet-r").size(), 80u);
  EXPECT_EQ(zero_shot_templates("all80", "EuroSAT").back(), "a centered satellite photo of {}.");
  EXPECT_EQ(zero_shot_templates("best7", "").size(), 8u);
  EXPECT_EQ(zero_shot_templates("single", "UCF101"), std::vector<std::string>{"a photo of a person doing {}."});
}

TEST(Templates, FillPutsTheNameIntoEveryPlaceAndTurnsUnderscoresIntoSpaces) {
  EXPECT_EQ(fill("a photo of a {}.", "fire_engine"), "a photo of a fire engine.");
  EXPECT_EQ(fill("{} or {}", "{}"), "{} or {}");
  EXPECT_EQ(fill("my_template {}", "a__b"), "my_template a  b");
  EXPECT_THROW(fill("a photo.", "dog"), UsageError);
}

}  // namespace
}  // namespace attune
