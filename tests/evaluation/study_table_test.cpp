#include "attune/evaluation/study_table.h"

#include <cmath>

#include <gmock/gmock.h>

#include "attune/evaluation/study_report.h"
#include "tests/support/error_of.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::Not;

StudyScore score(const std::string& column, double acc1, Role role = Role::kTarget) {
  StudyScore made;
  made.test = made.column = made.dataset = column;
  made.role = role;
  made.count = 100;
  made.metrics = {acc1, 0.9, acc1, 0.1};
  made.zero_shot = 0.2;
  made.reliability = {{0, 0.5, 40, 0.4, 0.5}, {0.5, 1, 60, 0.8, acc1}};
  return made;
}

StudyRun run(const std::string& method, std::optional<int> shots, std::uint64_t seed, std::vector<StudyScore> scores) {
  StudyRun made;
  made.name = method + (shots ? std::to_string(*shots) : "") + "-" + std::to_string(seed);
  made.method = method;
  made.training = "t";
  made.shots = shots;
  made.seed = seed;
  made.seconds = 1.5;
  made.scores = std::move(scores);
  return made;
}

StudyRecord record(const std::string& protocol, std::vector<StudyRun> runs) {
  StudyRecord study;
  study.protocol = protocol;
  study.model = "pocket";
  study.version = "0.1.0";
  study.datasets = {"a <b>"};
  study.draw = "keyed";
  study.shots = {1, 4};
  study.seeds = {1, 2};
  study.methods = {{"zero_shot", "zero_shot", Json::object()}, {"coop", "coop", {{"epochs", 3}}}};
  study.runs = std::move(runs);
  return study;
}

const Summary& cell(const StudyTable& table, const std::string& row, const std::string& column) {
  for (const StudyTableRow& one : table.rows) {
    if (one.method + " " + shots_text(one.shots) != row) continue;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      if (heading(table.columns[c]) == column) return one.cells[c].value();
    }
  }
  throw std::out_of_range(row + ", " + column);
}

TEST(StudyTable, SumsUpOverSeedsAndAveragesWithinEachSeed) {
  // The two columns vary against each other, so their average does not vary at all.
  const StudyTable table = study_table(
      record("dg-multi", {run("coop", 4, 1, {score("art", 0.4)}), run("coop", 4, 2, {score("art", 0.6)}),
                          run("coop", 4, 1, {score("photo", 0.8)}), run("coop", 4, 2, {score("photo", 0.6)})}));
  EXPECT_NEAR(cell(table, "coop 4 shots", "art").mean, 0.5, 1e-12);
  EXPECT_NEAR(cell(table, "coop 4 shots", "art").deviation, 0.1, 1e-12);  // ddof 0
  EXPECT_NEAR(cell(table, "coop 4 shots", "average").mean, 0.6, 1e-12);
  EXPECT_NEAR(cell(table, "coop 4 shots", "average").deviation, 0.0, 1e-12);
}

TEST(StudyTable, TheHarmonicMeanIsOfTheAveragesNotTheAverageOfHarmonicMeans) {
  const auto both = [](const std::string& data, double base, double fresh) {
    return std::vector{score(data, base, Role::kBase), score(data, fresh, Role::kNew)};
  };
  const StudyTable table = study_table(
      record("base-to-new", {run("coop", 4, 1, both("x", 0.9, 0.1)), run("coop", 4, 1, both("y", 0.5, 0.7))}));
  EXPECT_NEAR(cell(table, "coop 4 shots", "x HM").mean, 0.18, 1e-12);
  EXPECT_NEAR(cell(table, "coop 4 shots", "average base").mean, 0.7, 1e-12);
  EXPECT_NEAR(cell(table, "coop 4 shots", "average HM").mean, 2 * 0.7 * 0.4 / 1.1, 1e-12);
}

TEST(StudyTable, SourcesAreShownButDoNotCountInTheAverage) {
  const StudyTable table = study_table(
      record("cross-dataset", {run("coop", 4, 1, {score("i", 0.9, Role::kSource), score("x", 0.2), score("y", 0.4)})}));
  EXPECT_NEAR(cell(table, "coop 4 shots", "i source").mean, 0.9, 1e-12);
  EXPECT_NEAR(cell(table, "coop 4 shots", "average").mean, 0.3, 1e-12);
}

TEST(StudyTable, AnAverageNeedsEveryColumnOfItsSeed) {
  const StudyTable table =
      study_table(record("dg-multi", {run("coop", 4, 1, {score("art", 0.4)}), run("coop", 4, 1, {score("photo", 0.8)}),
                                      run("coop", 4, 2, {score("art", 0.0)}), run("coop", 4, 2, {})}));
  EXPECT_EQ(cell(table, "coop 4 shots", "average").count, 1);
  EXPECT_NEAR(cell(table, "coop 4 shots", "average").mean, 0.6, 1e-12);
  EXPECT_EQ(cell(table, "coop 4 shots", "art").count, 2);
}

TEST(StudyTable, TellsSeenAndHeldOutConceptsApartWithTheirFloors) {
  StudyScore both = score("fluent", 0.3);
  both.groups = {{"seen", {80, 0.35}}, {"held_out", {20, 0.1}}};
  both.floors = {{"held_out", 0.12}};
  const StudyTable table = study_table(record("dg-multi", {run("zero_shot", std::nullopt, 1, {both})}));
  EXPECT_NEAR(cell(table, "zero_shot ", "fluent, held-out concepts").mean, 0.1, 1e-12);
  EXPECT_THAT(study_text(table), HasSubstr("nearest pixels"));
  EXPECT_THAT(study_csv(table), HasSubstr("zero_shot,,fluent,held_out,,1,0.100000,0.000000,\n"));
  EXPECT_THAT(study_latex(table), HasSubstr("zero\\_shot &  & 30.0 & 35.0 & 10.0 \\\\"));
}

StudyRecord full() {
  return record("few-shot", {run("zero_shot", std::nullopt, 1, {score("a <b>", 0.2), score("c", 0.1)}),
                             run("coop", 1, 1, {score("a <b>", 0.3), score("c", 0.2)}),
                             run("coop", 1, 2, {score("a <b>", 0.4), score("c", 0.2)}),
                             run("coop", 4, 1, {score("a <b>", 0.5), score("c", 0.3)}), [] {
                               StudyRun failed = run("coop", 4, 2, {});
                               failed.error = "no <memory>";
                               return failed;
                             }()});
}

TEST(StudyRecord, ReadsWhatItWrites) {
  StudyRecord study = full();
  study.runs[0].scores[0].metrics.acc5 = std::nan("");
  study.runs[0].scores[0].groups = {{"seen", {3, 0.5}}};
  study.runs[0].scores[0].floors = {{"seen", 0.25}};
  study.words = {{"coop", "coop.4-shots", {{"context", 3, 1.5, "red", 0.25}}, 7}};
  const Json written = to_json(study);
  EXPECT_EQ(to_json(study_from_json(written, "study")), written);
}

TEST(StudyRecord, NamesWhatIsWrong) {
  const Json good = to_json(full());
  const auto why = [&](const char* pointer, const Json& value) {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = value;
    return error_of([&] { study_from_json(bad, "study.json"); });
  };
  EXPECT_THAT(why("/format", "other"), HasSubstr("attune-study-1"));
  EXPECT_THAT(why("/protocol", "none"), HasSubstr("protocol"));
  EXPECT_THAT(why("/runs/1/method", "spg"), HasSubstr("runs[1]"));
  EXPECT_THAT(why("/runs/1/shots", -5), HasSubstr("shots"));
  EXPECT_THAT(why("/runs/0/scores/1/acc1", 1.5), HasSubstr("scores[1]"));
  EXPECT_THAT(why("/runs/0/scores/1/role", "x"), HasSubstr("role"));
  EXPECT_THAT(why("/words", {{{"method", "coop"}}}), HasSubstr("words[0]"));
  EXPECT_THAT(why("/runs/0/scores/1/reliability/0", 3), HasSubstr("reliability[0]"));
  EXPECT_THAT(why("/runs/0/scores/1/reliability/0/4", nullptr), HasSubstr("bin with pictures"));
}

TEST(StudyReport, ShowsTablesCurvesCalibrationAndFailuresAndEscapesNames) {
  const std::string page = study_report_html(full());
  for (const char* id : {"failures", "results", "bars", "curves", "calibration", "provenance"})
    EXPECT_THAT(page, HasSubstr("<section id=\"" + std::string(id) + "\""));
  EXPECT_THAT(page, HasSubstr("no &lt;memory&gt;"));
  EXPECT_THAT(page, HasSubstr("a &lt;b&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("a <b>")));
  EXPECT_THAT(page, Not(HasSubstr(">nan")));
  EXPECT_THAT(page, HasSubstr("+25.0"));  // 4 shots against zero-shot on average: 40 - 15
  EXPECT_EQ(page, study_report_html(full()));
}

TEST(StudyReport, IsWholeWhereEverythingFailed) {
  StudyRecord study = full();
  for (StudyRun& one : study.runs) one.scores.clear();
  EXPECT_THAT(study_report_html(study), HasSubstr("</html>"));
}

}  // namespace
}  // namespace attune
