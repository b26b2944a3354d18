#include "attune/evaluation/results.h"

#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/tables.h"
#include "attune/evaluation/training_log.h"
#include "tests/evaluation/example_run.h"
#include "tests/support/mutations.h"

namespace attune {
namespace {

using testing::HasSubstr;

TEST(Results, ComeBackAsTheyWereWritten) {
  const TemporaryFolder folder;
  const Results written = example_results();
  write_results(folder.path() / "results.json", {written});
  const std::vector<Results> read = read_results(folder.path() / "results.json");
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(to_json(read[0]), to_json(written));
  EXPECT_EQ(read[0].measured.confusion, written.measured.confusion);
  EXPECT_EQ(read[0].source_domains, written.source_domains);
  ASSERT_TRUE(read[0].floors);
  EXPECT_DOUBLE_EQ(read[0].floors->acc1.at("fluent").at("held_out"), 0.156);
}

TEST(Results, SeveralAreAList) {
  const TemporaryFolder folder;
  write_results(folder.path() / "results.json", {example_results(), example_results()});
  EXPECT_TRUE(read_json(folder.path() / "results.json").is_array());
  EXPECT_EQ(read_results(folder.path() / "results.json").size(), 2U);
}

TEST(Results, HaveTheKeysOfClipBenchmark) {
  const Json value = to_json(example_results());
  for (const char* key : {"dataset", "model", "pretrained", "task"}) EXPECT_TRUE(value.at(key).is_string()) << key;
  for (const char* key : {"acc1", "acc5", "mean_per_class_recall"})
    EXPECT_TRUE(value.at("metrics").at(key).is_number());
  EXPECT_DOUBLE_EQ(value.at("metrics").at("acc1").get<double>(), 0.7);
  EXPECT_EQ(value.at("per_domain").at(1).at("groups").at("held_out").at("count"), 75);
}

TEST(Results, AnEmptyClassHasNoAccuracy) {
  Results results = example_results();
  results.measured.per_class[1].accuracy = {0, std::nan("")};
  const Json value = to_json(results);
  EXPECT_TRUE(value.at("per_class").at(1).at("acc1").is_null());
  EXPECT_TRUE(std::isnan(results_from_json(value, "here").measured.per_class[1].accuracy.acc1));
}

/// What is done to a good file, and what the error must name.
struct Damage {
  std::function<void(Json&)> apply;
  std::string named;
};

TEST(Results, HostileFilesAreRefusedByName) {
  const std::vector<Damage> damages = {
      {[](Json& v) { v = 3; }, "dataset"},
      {[](Json& v) { v["task"] = "detection"; }, "zeroshot_classification, found detection"},
      {[](Json& v) { v.erase("metrics"); }, "metrics"},
      {[](Json& v) { v["metrics"]["acc1"] = "high"; }, "acc1"},
      {[](Json& v) { v["metrics"]["acc1"] = 1.5; }, "acc1"},
      {[](Json& v) { v["metrics"]["ece"] = nullptr; }, "ece"},
      {[](Json& v) { v["count"] = -1; }, "count"},
      {[](Json& v) { v["seed"] = 1.5; }, "seed"},
      {[](Json& v) { v["classes"][0] = 5; }, "classes"},
      {[](Json& v) { v["split"] = "test"; }, "split"},
      {[](Json& v) { v["config"] = Json::array(); }, "config"},
      {[](Json& v) { v["per_class"].erase(0); }, "per_class"},
      {[](Json& v) { v["per_class"][2]["acc1"] = nullptr; }, "per_class[2]"},
      {[](Json& v) { v["per_domain"] = Json::object(); }, "per_domain"},
      {[](Json& v) { v["per_domain"][1]["groups"]["seen"]["acc1"] = -0.1; }, "groups.seen"},
      {[](Json& v) { v["confusion"].erase(0); }, "confusion"},
      {[](Json& v) {
         v["confusion"][1] = {1, 2};
       },
       "confusion[1]"},
      {[](Json& v) { v["confusion"][2][0] = -4; }, "confusion[2]"},
      {[](Json& v) { v["confusion"][2][0] = 18446744073709551615ULL; }, "confusion[2]"},
      {[](Json& v) { v["count"] = 18446744073709551615ULL; }, "count"},
      {[](Json& v) { v["reliability"][14]["high"] = 2; }, "reliability[14]"},
      {[](Json& v) { v["zero_shot"]["metrics"]["acc5"] = true; }, "zero_shot: metrics"},
      {[](Json& v) { v["floors"]["acc1"]["fluent"] = 3; }, "acc1.fluent"},
      {[](Json& v) { v["forgetting"].erase("before"); }, "before"},
      {[](Json& v) { v["examples"][1]["correct"] = "yes"; }, "examples[1]"},
      {[](Json& v) { v["seconds"] = -1; }, "seconds"},
  };
  for (const Damage& damage : damages) {
    Json value = to_json(example_results());
    damage.apply(value);
    try {
      results_from_json(value, "run/results.json");
      ADD_FAILURE() << "accepted a wrong " << damage.named;
    } catch (const Error& problem) {
      EXPECT_THAT(problem.what(), HasSubstr("run/results.json"));
      EXPECT_THAT(problem.what(), HasSubstr(damage.named));
    }
  }
}

TEST(Results, DamagedFilesAreReadOrRefusedWithAnError) {
  const Json good = to_json(example_results());
  const std::string text = good.dump();
  const int values = refusals(2000, [&](KeyedRandom& random) {
    const Json written = to_json(results_from_json(damaged(good, random), "damaged"));
    EXPECT_EQ(to_json(results_from_json(written, "again")), written);
  });
  const int bytes = refusals(1000, [&](KeyedRandom& random) { parse_results(damaged(text, random), "damaged"); });
  EXPECT_GT(values, 500);
  EXPECT_GT(bytes, 300);
}

TEST(TrainingLog, DamagedLinesAreReadOrRefusedWithAnError) {
  const std::string good = R"({"kind":"step","stage":"coop","epoch":0,"step":1,"loss":3.5,"lr":0.002})"
                           "\n"
                           R"({"kind":"epoch","stage":"coop","epoch":0,"loss":3.1,"acc":0.2,"lr":0.002,"seconds":0.2})"
                           "\n";
  EXPECT_EQ(parse_training_log(good, "log").epochs.size(), 1U);
  const int refused =
      refusals(2000, [&](KeyedRandom& random) { stages_of(parse_training_log(damaged(good, random), "damaged")); });
  EXPECT_GT(refused, 300);
}

TEST(Results, BrokenFilesAreRefusedByPath) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "results.json";
  const std::string good = to_json(example_results()).dump();
  for (const std::string& text : {std::string(), good.substr(0, good.size() / 2), std::string("[]"),
                                  std::string(100'000, '['), "\xFF\xFE" + good}) {
    write_file(path, text);
    try {
      read_results(path);
      ADD_FAILURE() << "accepted " << text.substr(0, 20);
    } catch (const Error& problem) {
      EXPECT_THAT(problem.what(), HasSubstr("results.json"));
    }
  }
  EXPECT_THROW(read_results(folder.path() / "absent.json"), Error);
}

TEST(Tables, CsvQuotesNamesAndLeavesUnknownNumbersEmpty) {
  Results results = example_results();
  results.classes[1] = results.measured.per_class[1].name = "a, \"b\"";
  results.measured.per_class[2].accuracy = {0, std::nan("")};
  const std::string csv = per_class_csv(results);
  EXPECT_THAT(csv, HasSubstr("class,count,acc1,low,high,zero_shot_acc1\n"));
  EXPECT_THAT(csv, HasSubstr("\"a, \"\"b\"\"\",100,0.700000,0.604"));
  EXPECT_THAT(csv, HasSubstr(",0,,0.000000,1.000000,"));
  const std::string domains = per_domain_csv(results);
  EXPECT_THAT(domains, HasSubstr("all,all,300,0.700000,0.645"));
  EXPECT_THAT(domains, HasSubstr("\nfluent,held_out,75,"));
}

TEST(Tables, LatexIsEscaped) {
  Results results = example_results();
  results.dataset = "R&D_50%";
  EXPECT_THAT(latex_rows(results), HasSubstr("coop & R\\&D\\_50\\% & all & 40.0 & 70.0 & 64.6--74.9 \\\\\n"));
  EXPECT_THAT(latex_rows(results), HasSubstr("fluent, held\\_out"));
}

TEST(Tables, FloorsStandBesideTheirRow) {
  for (const AccuracyRow& row : accuracy_rows(example_results())) {
    EXPECT_EQ(row.floor.has_value(), row.domain == "fluent" && row.group != "all") << row.domain << row.group;
    EXPECT_TRUE(row.zero_shot.has_value());
  }
}

}  // namespace
}  // namespace attune
