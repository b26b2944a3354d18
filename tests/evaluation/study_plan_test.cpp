#include "attune/evaluation/study_plan.h"

#include <set>

#include <gmock/gmock.h>

#include "tests/support/error_of.h"

namespace attune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// `pictures` of every class in every domain, undivided.
Dataset drawings(const std::string& name, const std::vector<std::string>& domains,
                 const std::vector<std::string>& classes, int pictures) {
  Dataset dataset;
  dataset.name = name;
  dataset.root = "/pictures";
  dataset.domains = domains;
  dataset.classes = classes;
  for (std::size_t d = 0; d < domains.size(); ++d) {
    for (std::size_t c = 0; c < classes.size(); ++c) {
      for (int i = 0; i < pictures; ++i) {
        Sample sample;
        sample.path = std::filesystem::path(domains[d]) / classes[c] / (std::to_string(i) + ".png");
        sample.label = static_cast<std::int64_t>(c);
        sample.domain = static_cast<std::int64_t>(d);
        dataset.all.push_back(sample);
      }
    }
  }
  return dataset;
}

const std::vector<std::string> kFiveClasses = {"ant", "bee", "cat", "dog", "elk"};

Dataset flat(const std::string& name = "animals") {
  return drawings(name, {""}, kFiveClasses, 20);
}
Dataset pacs() {
  return drawings("pacs", {"art", "cartoon", "photo", "sketch"}, kFiveClasses, 10);
}

StudyDesign design(Protocol protocol, std::vector<int> shots = {2}, std::vector<std::uint64_t> seeds = {1, 2}) {
  StudyDesign made;
  made.protocol = protocol;
  made.shots = std::move(shots);
  made.seeds = std::move(seeds);
  return made;
}

const std::vector<MethodName> kMethods = {{"zero_shot", false}, {"coop", true}};

std::set<std::string> paths(const std::vector<Sample>& samples) {
  std::set<std::string> all;
  for (const Sample& sample : samples) all.insert(sample.path.generic_string());
  return all;
}

std::set<std::int64_t> domains_of(const std::vector<Sample>& samples) {
  std::set<std::int64_t> all;
  for (const Sample& sample : samples) all.insert(sample.domain);
  return all;
}

bool share(const std::vector<Sample>& a, const std::vector<Sample>& b) {
  const std::set<std::string> in_a = paths(a);
  return std::any_of(b.begin(), b.end(),
                     [&](const Sample& sample) { return in_a.contains(sample.path.generic_string()); });
}

TEST(StudyPlan, FewShotDrawsShotsAndValidationAndTestsTheWholeTestPart) {
  const StudyPlan plan = plan_study(design(Protocol::kFewShot, {1, 16}), {flat()}, kMethods);
  ASSERT_THAT(plan.tests, SizeIs(1));
  EXPECT_EQ(plan.tests[0].name, "animals");
  EXPECT_THAT(plan.tests[0].data.test, SizeIs(30));  // 30 % of 100
  std::vector<std::string> names;
  for (const PlannedRun& run : plan.runs) names.push_back(run.name);
  EXPECT_THAT(names, ElementsAre("zero_shot.animals", "coop.animals.1-shots.seed-1", "coop.animals.1-shots.seed-2",
                                 "coop.animals.16-shots.seed-1", "coop.animals.16-shots.seed-2"));
  const Dataset& one = plan.trainings[plan.runs[1].training].data;
  EXPECT_THAT(one.train, SizeIs(5));
  EXPECT_THAT(one.val, SizeIs(5));
  const Dataset& many = plan.trainings[plan.runs[3].training].data;
  EXPECT_THAT(many.train, SizeIs(50));  // no class has more in the training part
  EXPECT_THAT(many.val, SizeIs(20));    // min(16, 4) a class
  for (const TrainingSet& training : plan.trainings) {
    EXPECT_FALSE(share(training.data.train, plan.tests[0].data.test));
    EXPECT_FALSE(share(training.data.val, plan.tests[0].data.test));
    EXPECT_THAT(training.data.test, IsEmpty());
    EXPECT_THAT(training.data.all, IsEmpty());
  }
}

TEST(StudyPlan, TheTestPartIsTheSameForAllSeedsAndTheDrawsAreNot) {
  const StudyPlan plan = plan_study(design(Protocol::kFewShot), {flat()}, kMethods);
  EXPECT_EQ(plan.runs[1].tests, plan.runs[2].tests);
  EXPECT_NE(paths(plan.trainings[plan.runs[1].training].data.train),
            paths(plan.trainings[plan.runs[2].training].data.train));
}

TEST(StudyPlan, AllSamplesAreOneTrainingSetWithAFifthForValidation) {
  Dataset parts = flat();
  parts.train = parts.all;
  parts.test.assign(parts.train.begin(), parts.train.begin() + 1);
  parts.train.erase(parts.train.begin());
  parts.all.clear();
  const StudyPlan plan = plan_study(design(Protocol::kFewShot, {0}), {parts}, kMethods);
  EXPECT_EQ(plan.runs[1].training, plan.runs[2].training);
  const Dataset& training = plan.trainings[plan.runs[1].training].data;
  EXPECT_EQ(training.train.size() + training.val.size(), 99u);
  EXPECT_THAT(training.val, SizeIs(20));
  EXPECT_EQ(plan.runs[1].name, "coop.animals.all.seed-1");
}

TEST(StudyPlan, AValidationPartThatIsTheTestPartIsNotUsedForSelection) {
  Dataset parts = divide(flat(), Division::kSeventyThirty, 1);  // as the authors of SPG write it: test is val
  const StudyPlan plan = plan_study(design(Protocol::kFewShot), {parts}, kMethods);
  const Dataset& training = plan.trainings[0].data;
  EXPECT_THAT(training.val, SizeIs(10));
  EXPECT_FALSE(share(training.val, plan.tests[0].data.test));
}

TEST(StudyPlan, BaseToNewLearnsOnTheFirstHalfRoundedUpAndTestsBothWithTheirOwnNames) {
  const StudyPlan plan = plan_study(design(Protocol::kBaseToNew), {flat()}, kMethods);
  ASSERT_THAT(plan.tests, SizeIs(2));
  EXPECT_EQ(plan.tests[0].role, Role::kBase);
  EXPECT_EQ(plan.tests[0].name, "animals base");
  EXPECT_EQ(plan.tests[1].column, "animals");
  EXPECT_THAT(plan.tests[0].data.classes, ElementsAre("ant", "bee", "cat"));
  EXPECT_EQ(plan.tests[1].role, Role::kNew);
  EXPECT_THAT(plan.tests[1].data.classes, ElementsAre("dog", "elk"));
  for (const Sample& sample : plan.tests[1].data.test) EXPECT_LT(sample.label, 2);
  EXPECT_THAT(plan.trainings[0].data.classes, ElementsAre("ant", "bee", "cat"));
  EXPECT_THAT(plan.trainings[0].data.train, SizeIs(6));
}

TEST(StudyPlan, CrossDatasetLearnsOnTheFirstAndTestsTheOthersWithTheirOwnNamesAndTemplates) {
  Dataset other = drawings("fruit", {""}, {"fig", "kiwi"}, 10);
  other.prompt_template = "a photo of a {}, a type of fruit.";
  const StudyPlan plan = plan_study(design(Protocol::kCrossDataset), {flat(), other}, kMethods);
  ASSERT_THAT(plan.tests, SizeIs(2));
  EXPECT_EQ(plan.tests[0].role, Role::kSource);
  EXPECT_EQ(plan.tests[1].role, Role::kTarget);
  EXPECT_THAT(plan.tests[1].data.classes, ElementsAre("fig", "kiwi"));
  EXPECT_EQ(plan.tests[1].data.prompt_template, other.prompt_template);
  EXPECT_THAT(plan.tests[1].data.test, SizeIs(6));
  EXPECT_THAT(plan.trainings[0].data.classes, ElementsAre("ant", "bee", "cat", "dog", "elk"));
}

TEST(StudyPlan, LeaveOneDomainOutLearnsFromTheOthersAndTestsEveryPictureOfIt) {
  const StudyPlan plan = plan_study(design(Protocol::kDgMulti, {0}, {1}), {pacs()}, kMethods);
  ASSERT_THAT(plan.tests, SizeIs(4));
  ASSERT_THAT(plan.runs, SizeIs(8));
  for (std::size_t t = 0; t < 4; ++t) {
    const PlannedRun& run = plan.runs[2 * t + 1];
    const auto target = static_cast<std::int64_t>(t);
    EXPECT_THAT(run.tests, ElementsAre(t));
    EXPECT_THAT(plan.tests[t].data.test, SizeIs(50));
    EXPECT_THAT(domains_of(plan.tests[t].data.test), ElementsAre(target));
    const Dataset& training = plan.trainings[run.training].data;
    EXPECT_THAT(training.train, SizeIs(105));  // 70 %
    EXPECT_THAT(training.val, SizeIs(45));
    EXPECT_FALSE(domains_of(training.train).contains(target));
    EXPECT_FALSE(domains_of(training.val).contains(target));
  }
  EXPECT_EQ(plan.runs[3].name, "coop.pacs.to-cartoon.all.seed-1");
}

TEST(StudyPlan, ShotsOfDomainProtocolsCountInEachDomain) {
  const StudyPlan plan = plan_study(design(Protocol::kDgMulti, {2}, {1}), {pacs()}, kMethods);
  EXPECT_THAT(plan.trainings[0].data.train, SizeIs(30));  // 2 x 5 classes x 3 domains
  EXPECT_THAT(plan.trainings[0].data.val, SizeIs(30));
}

TEST(StudyPlan, ATargetIsTestedOnceWhereItsPartsRepeatPictures) {
  const Dataset parts = divide(pacs(), Division::kSeventyThirty, 1);  // test repeats val
  const StudyPlan plan = plan_study(design(Protocol::kDgMulti, {0}, {1}), {parts}, kMethods);
  EXPECT_THAT(plan.tests[0].data.test, SizeIs(50));
  EXPECT_THAT(plan.trainings[0].data.train, SizeIs(105));
}

TEST(StudyPlan, SingleSourceLearnsFromOneDomainAndTestsEachOfTheOthers) {
  StudyDesign asked = design(Protocol::kDgSingle, {0}, {1});
  const StudyPlan plan = plan_study(asked, {pacs()}, kMethods);
  ASSERT_THAT(plan.runs, SizeIs(8));
  ASSERT_THAT(plan.runs[1].tests, SizeIs(3));
  EXPECT_THAT(plan.trainings[plan.runs[1].training].sources, ElementsAre("art"));
  for (const std::size_t test : plan.runs[1].tests) EXPECT_EQ(plan.tests[test].column, "from art");
  asked.targets = {"sketch"};
  const StudyPlan one = plan_study(asked, {pacs()}, kMethods);
  EXPECT_THAT(one.runs, SizeIs(6));  // sketch itself has no target
  EXPECT_EQ(one.runs[1].name, "coop.pacs.from-art.all.seed-1");
}

TEST(StudyPlan, AcrossDataSetsOfDomainsEveryPictureOfTheOthersIsTested) {
  Dataset other = drawings("vlcs", {"full", "test"}, {"bird", "car"}, 10);
  const StudyPlan plan = plan_study(design(Protocol::kDgCross, {0}, {1}), {pacs(), other}, kMethods);
  ASSERT_THAT(plan.tests, SizeIs(1));
  EXPECT_THAT(plan.tests[0].data.test, SizeIs(40));
  EXPECT_THAT(plan.trainings[0].data.train, SizeIs(140));
}

TEST(StudyPlan, IsTheSameInAnyOrderOfTheListedPictures) {
  Dataset turned = pacs();
  std::reverse(turned.all.begin(), turned.all.end());
  const StudyPlan a = plan_study(design(Protocol::kDgMulti), {pacs()}, kMethods);
  const StudyPlan b = plan_study(design(Protocol::kDgMulti), {turned}, kMethods);
  for (std::size_t i = 0; i < a.trainings.size(); ++i) EXPECT_EQ(a.trainings[i].hash, b.trainings[i].hash);
}

TEST(StudyPlan, RefusesWhatTheDataCannotServe) {
  const auto why = [](StudyDesign asked, const std::vector<Dataset>& data,
                      const std::vector<MethodName>& methods = kMethods) {
    return error_of([&] { plan_study(asked, data, methods); });
  };
  EXPECT_THAT(why(design(Protocol::kDgMulti), {flat()}), HasSubstr("domains"));
  EXPECT_THAT(why(design(Protocol::kCrossDataset), {flat()}), HasSubstr("two data sets"));
  EXPECT_THAT(why(design(Protocol::kFewShot), {flat(), flat()}), HasSubstr("different names"));
  EXPECT_THAT(why(design(Protocol::kFewShot), {flat()}, {{"coop"}, {"coop"}}), HasSubstr("LABEL=coop"));
  EXPECT_THAT(why(design(Protocol::kFewShot), {flat()}, {{"a/b"}}), HasSubstr("letters"));
  EXPECT_THAT(why(design(Protocol::kFewShot, {4, 4}), {flat()}), HasSubstr("once"));
  EXPECT_THAT(why(design(Protocol::kFewShot, {}), {flat()}), HasSubstr("at least one"));
  StudyDesign held_out = design(Protocol::kFewShot);
  held_out.targets = {"art"};
  EXPECT_THAT(why(held_out, {pacs()}), HasSubstr("dg-multi"));
  StudyDesign unknown = design(Protocol::kDgMulti);
  unknown.targets = {"oil"};
  EXPECT_THAT(why(unknown, {pacs()}), HasSubstr("oil"));
  Dataset untested = flat();
  std::swap(untested.all, untested.train);
  EXPECT_THAT(why(design(Protocol::kFewShot), {untested}), HasSubstr("test part"));
  EXPECT_THAT(error_of([] { protocol_named("fewshot"); }), HasSubstr("few-shot"));
}

}  // namespace
}  // namespace attune
