#include "attune/evaluation/published.h"

#include <cmath>

#include <gmock/gmock.h>

#include "attune/evaluation/study_confusion.h"
#include "attune/evaluation/study_report.h"
#include "tests/support/error_of.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::Not;

/// CoOp on domains, each left out in turn.
StudyRecord study_of(const std::string& dataset, const std::string& model, int shots) {
  StudyRecord study;
  study.protocol = "dg-multi";
  study.model = model;
  study.version = "test";
  study.datasets = {dataset};
  study.draw = "keyed";
  study.shots = {shots};
  study.seeds = {1};
  study.methods = {{"zero_shot", "zero_shot", Json::object()}, {"mine", "coop", Json::object()}};
  for (const std::string domain : {"art", "photo", "sketch"}) {
    StudyRun run;
    run.name = "mine." + domain;
    run.method = "mine";
    run.training = "to-" + domain;
    run.sources = {"one", "two"};
    run.shots = shots;
    StudyScore score;
    score.test = score.column = domain;
    score.dataset = dataset;
    score.count = 10;
    score.metrics = {domain == "art" ? 0.25 : 0.5, 0.9, 0.5, 0.1};
    run.scores = {score};
    study.runs.push_back(run);
  }
  return study;
}

std::string section_of(const StudyRecord& study) {
  return published_section(study, study_table(study));
}

TEST(Published, StandBesideOursWhereDataBackboneProtocolAndShotsAreTheSame) {
  const std::string html = section_of(study_of("office_home", "ViT-B-16", 0));
  EXPECT_THAT(html, HasSubstr("83.0 ± 0.1"));   // CoOp there
  EXPECT_THAT(html, HasSubstr("41.7 (mine)"));  // CoOp here
  EXPECT_THAT(html, HasSubstr("MoE2"));
}

TEST(Published, NothingIsShownInAnotherSetting) {
  for (const StudyRecord& study :
       {study_of("emoji-dg", "pocket", 0), study_of("emoji-dg", "ViT-B-16", 0), study_of("PACS", "pocket", 0),
        study_of("PACS", "CLIP-ViT-B-16-laion2B-s34B-b88K", 0), study_of("PACS", "ViT-B-16", 16)}) {
    EXPECT_EQ(section_of(study), "") << study.datasets[0] << " " << study.model;
  }
  StudyRecord some_targets = study_of("PACS", "ViT-B-16", 0);
  some_targets.runs.pop_back();
  EXPECT_EQ(section_of(some_targets), "") << "an average over fewer domains";
  EXPECT_NE(section_of(study_of("PACS", "ViT-B-16", 0)), "");
  EXPECT_THAT(study_report_html(study_of("emoji-dg", "pocket", 0)), Not(HasSubstr("id=\"published\"")));
}

TEST(Published, ChangeNoNumberOfTheStudy) {
  const std::string with = study_report_html(study_of("PACS", "ViT-B-16", 0));
  const std::string without = study_report_html(study_of("emoji-dg", "ViT-B-16", 0));
  EXPECT_THAT(with, HasSubstr("id=\"published\""));
  const auto results = [](const std::string& page) {
    const std::size_t begin = page.find("<section id=\"results\"");
    return page.substr(begin, page.find("<section id=\"calibration\"") - begin);
  };
  EXPECT_GT(results(with).size(), 100u);
  EXPECT_EQ(results(with), results(without));
}

TEST(Published, HarmonicMeansAreThoseOfBaseAndNew) {
  int rows = 0;
  for (const PublishedTable& table : published_tables()) {
    if (table.protocol != "base-to-new") continue;
    for (std::size_t i = 0; i + 2 < table.scores.size(); i += 3) {
      const double base = table.scores[i].per_cent, fresh = table.scores[i + 1].per_cent;
      ASSERT_EQ(table.scores[i + 2].column, "HM");
      EXPECT_NEAR(2 * base * fresh / (base + fresh), table.scores[i + 2].per_cent, 0.012) << table.scores[i].method;
      ++rows;
    }
  }
  EXPECT_EQ(rows, 14);
}

Results answers(std::vector<std::string> classes, std::vector<std::vector<std::int64_t>> counts) {
  Results results;
  results.classes = std::move(classes);
  results.measured.confusion = std::move(counts);
  return results;
}

TEST(StudyConfusions, AreThoseOfTheBestRowSummedOverTestSetsOfTheSameClasses) {
  StudyRecord study = study_of("emoji-dg", "pocket", 0);
  for (std::size_t r = 0; r < 3; ++r) {
    StudyRun worse = study.runs[r];
    worse.name = "bad";
    worse.method = "zero_shot";
    worse.shots.reset();
    worse.scores[0].metrics.acc1 = 0.1;
    study.runs.push_back(worse);
  }
  study.confusions = best_confusions(study, [](const std::string& run) -> std::vector<Results> {
    EXPECT_TRUE(run.starts_with("mine.")) << run;
    if (run == "mine.sketch") return {answers({"x", "y"}, {{5, 0}, {0, 5}})};
    return {answers({"cat", "d<g"}, {{2, 1}, {run == "mine.art" ? 3 : 0, 4}})};
  });
  ASSERT_EQ(study.confusions.size(), 2u);
  EXPECT_EQ(study.confusions[0].method, "mine");
  EXPECT_EQ(study.confusions[0].tests, (std::vector<std::string>{"art", "photo"}));
  EXPECT_EQ(study.confusions[0].counts, (std::vector<std::vector<std::int64_t>>{{4, 2}, {3, 8}}));

  const StudyRecord back = study_from_json(to_json(study), "test");
  EXPECT_EQ(to_json(back), to_json(study));
  const std::string page = study_report_html(back);
  EXPECT_THAT(page, HasSubstr("id=\"confusion\""));
  EXPECT_THAT(page, HasSubstr("d&lt;g named cat: 3 of 11"));

  Json broken = to_json(study);
  broken["confusions"][0]["counts"][1].push_back(1);
  EXPECT_THAT(error_of([&] { study_from_json(broken, "test"); }), HasSubstr("confusions[0]"));
}

}  // namespace
}  // namespace attune
